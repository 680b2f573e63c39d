"""Theorems about the paper that Coq has checked, for every finite number of responses.

The ``.v`` files beside this one hold them. Each theorem is written as ``(** [number in the paper] a sentence. *)`` and
below it ``Theorem name hypotheses : statement.``, with nothing assumed elsewhere, so that the sentence and what is
proved stand together. ``check_file`` has Coq compile a file, once for its very text, and holds each theorem to what it
may rest on; ``python -m theory.proofs`` compiles all of them anew and prints them.

Only Python's standard library is needed here, so that proofs can be checked without the project's environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
VERSION = "8.16"
PACKAGES = ("coq", "libcoq-mathcomp-algebra")

# What the files may assume: the axioms from which Coq's standard library builds the real numbers and their logarithm
# (`Print Assumptions ln`), and nothing else.
REALS = frozenset(
    {
        "ClassicalDedekindReals.sig_not_dec",
        "ClassicalDedekindReals.sig_forall_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
    }
)
ASSUMED: dict[str, frozenset[str]] = {"games.v": frozenset(), "regularized.v": REALS}

_THEOREM = re.compile(
    r"^\(\*\* \[(?P<paper>[^\]]+)\] (?P<sentence>.*?) \*\)\n"
    r"Theorem (?P<name>\w+)(?P<statement>.*?)\.\nProof\b",
    re.DOTALL | re.MULTILINE,
)
_ERROR = re.compile(r'File "[^"]*", line (\d+), characters [^:]*:\nError:\s*(.*)', re.DOTALL)


class ProofError(Exception):
    """A file that Coq refuses, or a theorem that rests on what it should not: one line with file, theorem and line."""


@dataclass(frozen=True)
class Theorem:
    """One theorem.

    Attributes:
        name: As Coq has it.
        paper: Where the paper has what it is about.
        sentence: What it says, in plain words, with its hypotheses.
        statement: What is proved: hypotheses and conclusion in Coq's notation, as written.
        file: Name of the ``.v`` file.
        line: Where its name stands in the file, from 1.
    """

    name: str
    paper: str
    sentence: str
    statement: str
    file: str
    line: int


def read_theorems(text: str, file: str) -> list[Theorem]:
    """The theorems of one file's text, in order.

    Raises:
        ProofError: One has no comment of the form ``(** [number] sentence *)`` right above it.
    """
    found = []
    for match in _THEOREM.finditer(text):
        line = text.count("\n", 0, match.start("name")) + 1
        sentence = " ".join(match["sentence"].split())
        found.append(Theorem(match["name"], match["paper"], sentence, match["statement"].strip(" :\n"), file, line))
    named = {theorem.name for theorem in found}
    for match in re.finditer(r"^Theorem (\w+)", text, re.MULTILINE):
        if match[1] not in named:
            line = text.count("\n", 0, match.start()) + 1
            raise ProofError(f"{file}, line {line}: {match[1]} lacks its comment '(** [number] sentence. *)'")
    return found


@cache
def theorems() -> dict[str, Theorem]:
    """Every theorem by its name, file by file in the files' order of ``ASSUMED``."""
    every = [theorem for file in ASSUMED for theorem in read_theorems((HERE / file).read_text(encoding="utf-8"), file)]
    return {theorem.name: theorem for theorem in every}


def theorem(name: str) -> Theorem:
    """The theorem of that name.

    Raises:
        KeyError: There is none; the message lists the known names.
    """
    if name not in theorems():
        raise KeyError(f"no theorem {name!r} in theory/proofs; there are {', '.join(theorems())}")
    return theorems()[name]


def missing() -> str | None:
    """Why proofs cannot be checked on this machine, with what to do about it; None where they can."""
    advice = f"`make coq` installs it on Debian 12 (apt-get install {' '.join(PACKAGES)})"
    if shutil.which("coqc") is None:
        return f"coqc is not installed; {advice}"
    version = _ask("--print-version").split()[0]
    if not version.startswith(f"{VERSION}."):
        return f"coqc is {version}, and the proofs are written for {VERSION}; {advice}"
    if not _mathcomp().exists():
        return f"Coq's mathcomp is not installed; {advice}"
    return None


def _ask(option: str) -> str:
    return subprocess.run(["coqc", option], capture_output=True, text=True, check=True).stdout.strip()


def _mathcomp() -> Path:
    """The compiled library that games.v builds on; it names its own by their checksums."""
    return Path(_ask("-where")) / "user-contrib" / "mathcomp" / "algebra" / "ssrnum.vo"


def compile_file(text: str, file: str, folder: Path) -> list[frozenset[str]]:
    """Let Coq check a file's text.

    Args:
        text: What to compile.
        file: The file's name, as messages have it.
        folder: Where the copy and what Coq makes of it go.

    Returns:
        For each of the file's theorems, in order, the axioms that it rests on.

    Raises:
        ProofError: Coq refuses the file: names file, theorem, line and Coq's own message, in one line.
    """
    return _rests_on(run_coq(text, file, folder), read_theorems(text, file))


def run_coq(text: str, file: str, folder: Path) -> str:
    """What Coq says of a file that it accepts: of each theorem, below its name, what it rests on."""
    stated = read_theorems(text, file)
    (folder / file).write_text(_with_marks(text, stated), encoding="utf-8")
    result = subprocess.run(
        ["coqc", "-w", "-all", "-Q", ".", "Proofs", file], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise ProofError(explain(result.stderr, stated, file))
    return result.stdout


def _with_marks(text: str, stated: list[Theorem]) -> str:
    marks = [f'Goal True. idtac "== {theorem.name}". Abort. Print Assumptions {theorem.name}.' for theorem in stated]
    return "\n".join([text, *marks, ""])


def _rests_on(said: str, stated: list[Theorem]) -> list[frozenset[str]]:
    answers = re.split(r"^== (\w+)\n", said, flags=re.MULTILINE)[1:]
    given = dict(zip(answers[::2], answers[1::2], strict=True))
    return [assumptions(given[theorem.name]) for theorem in stated]


def assumptions(answer: str) -> frozenset[str]:
    """The names in Coq's answer to ``Print Assumptions``: each stands at the start of a line, before its type."""
    if answer.startswith("Closed under the global context"):
        return frozenset()
    return frozenset(re.findall(r"^([\w.']+)\s*(?::|$)", answer, re.MULTILINE)) - {"Axioms"}


def explain(output: str, stated: list[Theorem], file: str) -> str:
    """Coq's error in one line that names the theorem it lies in, or behind."""
    match = _ERROR.search(output)
    if match is None:
        return f"{file}: {' '.join(output.split())}"
    line = int(match[1])
    before = [theorem.name for theorem in stated if theorem.line <= line]
    place = f"in or after {before[-1]}" if before else "before the first theorem"
    return f"{file}, line {line}, {place}: {' '.join(match[2].split())}"


def check_file(file: str, *, anew: bool = False) -> None:
    """Have Coq compile one of the files, in a folder of its own, and hold its theorems to what it may assume.

    Args:
        file: Its name, one of ``ASSUMED``.
        anew: Compile it although this text is known to compile.

    Raises:
        ProofError: Coq refuses it, or a theorem rests on more than ``ASSUMED`` says.
    """
    text = (HERE / file).read_text(encoding="utf-8")
    rests_on = _rests_on(run_coq_once(text, file, anew=anew), read_theorems(text, file))
    hold_to_assumed(text, file, rests_on, ASSUMED[file])


def run_coq_once(text: str, file: str, *, anew: bool) -> str:
    """What Coq says of a file, from ``~/.cache/inspo/proofs`` where this Coq and mathcomp have accepted its very bytes.

    A process that asks while another compiles them waits for it. What is refused is not kept.
    """
    import fcntl  # Windows has none, and no Coq of Debian's either

    bytes_of = _with_marks(text, read_theorems(text, file)).encode(), _ask("--print-version").encode()
    key = hashlib.sha256(b"\0".join([*bytes_of, _mathcomp().read_bytes()])).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(home) / "inspo" / "proofs" / f"{key}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if anew or not kept.exists():
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                said = Path(folder) / "said"
                said.write_text(run_coq(text, file, Path(folder)), encoding="utf-8")
                said.replace(kept)
        return kept.read_text(encoding="utf-8")


def hold_to_assumed(text: str, file: str, rests_on: list[frozenset[str]], allowed: frozenset[str]) -> None:
    """Raise a ProofError that names the first theorem resting on an axiom, or unproved lemma, that is not allowed."""
    for stated, axioms in zip(read_theorems(text, file), rests_on, strict=True):
        if axioms - allowed:
            extra = ", ".join(sorted(axioms - allowed))
            raise ProofError(f"{file}, line {stated.line}: {stated.name} rests on {extra}, which is not proved")
