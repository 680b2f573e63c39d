"""Theorems about the paper that Coq has checked, for every finite number of responses.

The ``.v`` files beside this one hold them. Each theorem is written as ``(** [number in the paper] a sentence. *)`` and
below it ``Theorem name hypotheses : statement.``, with nothing assumed elsewhere, so that the sentence and what is
proved stand together. ``check_file`` compiles a file and holds each theorem to what it may rest on; ``python -m
theory.proofs`` does so for all and prints them.

Only Python's standard library is needed here, so that proofs can be checked without the project's environment.
"""

from __future__ import annotations

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
    version = subprocess.run(["coqc", "--print-version"], capture_output=True, text=True, check=True).stdout.split()[0]
    if not version.startswith(f"{VERSION}."):
        return f"coqc is {version}, and the proofs are written for {VERSION}; {advice}"
    library = subprocess.run(["coqc", "-where"], capture_output=True, text=True, check=True).stdout.strip()
    if not (Path(library) / "user-contrib" / "mathcomp" / "algebra" / "ssrnum.vo").exists():
        return f"Coq's mathcomp is not installed; {advice}"
    return None


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
    stated = read_theorems(text, file)
    marks = [f'Goal True. idtac "== {theorem.name}". Abort. Print Assumptions {theorem.name}.' for theorem in stated]
    (folder / file).write_text("\n".join([text, *marks, ""]), encoding="utf-8")
    result = subprocess.run(
        ["coqc", "-w", "-all", "-Q", ".", "Proofs", file], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise ProofError(explain(result.stderr, stated, file))
    answers = re.split(r"^== (\w+)\n", result.stdout, flags=re.MULTILINE)[1:]
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


def check_file(file: str) -> None:
    """Compile one of the files in a folder of its own and hold its theorems to what it may assume.

    Raises:
        ProofError: Coq refuses it, or a theorem rests on more than ``ASSUMED`` says.
    """
    text = (HERE / file).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        rests_on = compile_file(text, file, Path(folder))
    hold_to_assumed(text, file, rests_on, ASSUMED[file])


def hold_to_assumed(text: str, file: str, rests_on: list[frozenset[str]], allowed: frozenset[str]) -> None:
    """Raise a ProofError that names the first theorem resting on an axiom, or unproved lemma, that is not allowed."""
    for stated, axioms in zip(read_theorems(text, file), rests_on, strict=True):
        if axioms - allowed:
            extra = ", ".join(sorted(axioms - allowed))
            raise ProofError(f"{file}, line {stated.line}: {stated.name} rests on {extra}, which is not proved")
