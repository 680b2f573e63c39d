"""``make mutation``: does a test notice each small mistake in the objectives and losses?

Every mutant runs those tests of ``pytest tests theory`` that use these files, to the first failure.
Python, torch and the provers are imported once; a forked child per mutant imports the mutated file
instead of the real one, so nothing is written and nothing needs to be put back. Survivors must be
explained in survivors.json, by name.

``--semantic`` makes the mistakes of meaning of semantic.toml instead, also in theory's own tools; each must be
noticed by the test that stands with it.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType

from inspo.command_line import OneLineParser, UserError, exit_code
from theory.mutants import Mutant, mutants

ROOT = Path(__file__).parents[1]
FILES = ("inspo/objectives.py", "inspo/losses.py", "inspo/loss_options.py")
REASONS = Path(__file__).with_name("survivors.json")
REPORT = Path(__file__).with_name("MUTATION.md")
SEMANTIC = Path(__file__).with_name("semantic.toml")
SEMANTIC_HEADING = "## Mistakes of meaning\n"
# One pytest run after the other. A file's own tests come first: most mutants end there within seconds.
STAGES = (
    ("{own_tests}",),
    tuple(f"tests/inspo/test_{name}.py" for name in ("losses", "objectives", "conditioning", "tabular", "metrics")),
    ("theory",),
    # The other tests start a process of their own, which sees no mutant, or use neither file.
    ("tests/toy/test_toy_training.py", "tests/inspo/test_trl_conformance.py"),
)
# Of processor time, so that a busy machine does not pass for an endless loop.
SECONDS = 600
# By the clock, for a child that waits for ever and uses none.
PATIENCE = 3 * SECONDS
THRESHOLD = 0.95


@dataclass(frozen=True)
class Result:
    """Of the tests on a mutant: `status` is killed, timeout or survived."""

    mutant: Mutant
    status: str
    seconds: float


class MutatedLoader(importlib.machinery.SourceFileLoader):
    """Loads one module from a given source instead of its file's."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """The mutated source, compiled, past any cache."""
        return compile(self._source, self.get_filename(fullname), "exec")


class MutatedFinder(importlib.abc.MetaPathFinder):
    """Finds the mutated module before Python finds the real one."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._module = mutant.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec of the mutated module, or None for every other one."""
        if fullname != self._module:
            return None
        path = str(ROOT / self._mutant.file)
        loader = MutatedLoader(fullname, path, self._mutant.source())
        return importlib.util.spec_from_file_location(fullname, path, loader=loader)


def all_mutants() -> list[Mutant]:
    """Every mutant of these files."""
    return [mutant for file in FILES for mutant in mutants(file, (ROOT / file).read_text(encoding="utf-8"))]


def semantic_mutants() -> list[Mutant]:
    """Those of semantic.toml.

    Raises:
        ValueError: a passage to be replaced that its file does not hold just once.
    """
    found = []
    for number, entry in enumerate(tomllib.loads(SEMANTIC.read_text(encoding="utf-8"))["mutant"], 1):
        text, before = (ROOT / entry["file"]).read_text(encoding="utf-8"), entry["before"]
        if text.count(before) != 1:
            raise ValueError(f"{entry['file']} holds {text.count(before)} times: {before!r}")
        line, mutated = text[: text.index(before)].count("\n") + 1, text.replace(before, entry["after"])
        found.append(
            Mutant(
                entry["file"], entry["mistake"], line, before, entry["after"], number, partial(str, mutated),
                (entry["test"],),
            )
        )  # fmt: skip
    return found


def unchanged() -> Mutant:
    """No mistake at all: the tests must pass on it."""
    file = FILES[0]
    return Mutant(file, "module", 1, "as it is", "as it is", 1, lambda: (ROOT / file).read_text(encoding="utf-8"))


def start(mutant: Mutant, stages: Sequence[Sequence[str]]) -> int:
    """Fork a child that runs the tests on a mutant; its process id. Exit status 0 means survived."""
    if child := os.fork():
        return child
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.chdir(ROOT)
        sys.path.insert(0, str(ROOT))
        finder = MutatedFinder(mutant)
        sys.meta_path.insert(0, finder)
        forget_ours()
        import pytest

        class Foremost:
            """Puts the mutant before pytest's own finder, which rewrites the assertions of theory's modules."""

            def pytest_sessionstart(self) -> None:
                sys.meta_path.remove(finder)
                sys.meta_path.insert(0, finder)

        for stage in [mutant.tests] if mutant.tests else stages:
            own_tests = f"tests/inspo/test_{Path(mutant.file).name}"
            present = [
                name
                for name in (test.format(own_tests=own_tests) for test in stage)
                if (ROOT / name.partition("::")[0]).exists()
            ]
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
            if present and pytest.main([*options, *present], plugins=[Foremost()]) != 0:
                os._exit(1)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the mutant broke an import: that is a failure of its tests
        os._exit(1)


def forget_ours() -> None:
    """Unload the checkout's modules, tests included, so that what comes next imports the mutant."""
    folders = tuple(str(ROOT / name) + os.sep for name in ("inspo", "theory", "toy", "scaled", "tests"))
    for name, module in list(sys.modules.items()):
        if name != "__main__" and (getattr(module, "__file__", None) or "").startswith(folders):
            del sys.modules[name]


def run(queue: Sequence[Mutant], workers: int = 2, stages: Sequence[Sequence[str]] = STAGES) -> list[Result]:
    """Run the tests on each mutant, `workers` at a time, reporting each on standard error."""
    warm_up()
    waiting, running, results = list(reversed(queue)), dict[int, tuple[Mutant, float]](), list[Result]()
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            running[start(mutant, stages)] = mutant, time.monotonic()
        time.sleep(0.05)
        for child, (mutant, began) in list(running.items()):
            seconds = time.monotonic() - began
            if seconds > PATIENCE:
                os.kill(child, signal.SIGKILL)
            done, status = os.waitpid(child, os.WNOHANG)
            if not done:
                continue
            del running[child]
            outcome = "survived" if status == 0 else "timeout" if os.WIFSIGNALED(status) else "killed"
            results.append(Result(mutant, outcome, seconds))
            print(f"{len(results)}/{len(queue)} {outcome} {seconds:.0f} s  {mutant.name}", file=sys.stderr, flush=True)
    return results


def warm_up() -> None:
    """Import what every child needs, once: torch, the provers, the test tools; neither inspo nor its tests."""
    import hypothesis  # noqa: F401 - imported for the children
    import pytest  # noqa: F401 - imported for the children
    import scipy.integrate
    import scipy.optimize  # noqa: F401 - imported for the children
    import sympy  # noqa: F401 - imported for the children
    import torch
    import z3  # noqa: F401 - imported for the children

    torch.set_num_threads(1)


def report(results: Sequence[Result], reasons: dict[str, str]) -> str:
    """The text of theory/MUTATION.md."""
    count = Counter(result.status for result in results)
    caught = len(results) - count["survived"]
    lines = [
        "# Mutation testing",
        "",
        f"Written by `make mutation`: {len(results)} mutants, {caught} caught ({caught / len(results):.1%}).",
        "",
        "A mutant is one changed operator, index, axis, number or sign. It is caught if a test of `tests/` or",
        "`theory/` fails.",
        "",
        "| file | mutants | caught |",
        "|---|---|---|",
    ]
    for file in FILES:
        of_file = [result for result in results if result.mutant.file == file]
        lines.append(f"| `{file}` | {len(of_file)} | {sum(result.status != 'survived' for result in of_file)} |")
    lines += ["", "## Survivors", "", "| mutant | why no test notices it |", "|---|---|"]
    for result in results:
        if result.status == "survived":
            name = result.mutant.name.replace("|", "\\|")
            lines.append(f"| {name} | {reasons.get(result.mutant.name, '**unexplained**')} |")
    return "\n".join(lines) + "\n"


def semantic_report(results: Sequence[Result]) -> str:
    """The last section of theory/MUTATION.md."""
    lines = [
        SEMANTIC_HEADING,
        f"Written by `python -m theory.mutation --semantic`: {len(results)} of `semantic.toml`.",
    ]
    lines += ["", "| file | mistake | test that must fail | fails |", "|---|---|---|---|"]
    for result in results:
        test = result.mutant.tests[0].rpartition("::")[2].removeprefix("test_evidence[").removesuffix("]")
        noticed = "**no**" if result.status == "survived" else "yes"
        lines.append(f"| `{result.mutant.file}` | {result.mutant.function} | {test} | {noticed} |")
    return "\n".join(lines) + "\n"


def parser() -> OneLineParser:
    """The command line."""
    result = OneLineParser(prog="python -m theory.mutation", description="Mutation testing.")
    result.add_argument("--count", type=int, help="only so many, drawn at random; theory/MUTATION.md stays as it is")
    result.add_argument("--semantic", action="store_true", help="the mistakes of meaning of theory/semantic.toml")
    result.add_argument("--seed", type=int, default=0, help="of the draw")
    result.add_argument("--workers", type=int, default=2, help="processes at a time")
    result.add_argument("--list", action="store_true", help="list the mutants and stop")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if a survivor is unexplained or too few mutants were caught, 2 for wrong options."""
    return exit_code(lambda: mutate(parser().parse_args(arguments)), "stopped: nothing is written")


def mutate(options: argparse.Namespace) -> int:
    """Run the mutants that are asked for, or list them; the exit status.

    Raises:
        UserError: a count of mutants or workers that cannot be.
    """
    queue = semantic_mutants() if options.semantic else all_mutants()
    if options.count is not None and not 1 <= options.count <= len(queue):
        raise UserError(f"--count {options.count} must be from 1 to {len(queue)}, the number of mutants")
    if options.workers < 1:
        raise UserError(f"--workers {options.workers} must be at least 1")
    if options.list:
        print("\n".join(mutant.name for mutant in queue))
        return 0
    if options.count:
        queue = random.Random(options.seed).sample(queue, options.count)  # noqa: S311 - no secret is drawn
    tests = dict.fromkeys(test for mutant in queue for test in mutant.tests)
    sound = replace(unchanged(), tests=tuple(tests))
    if (options.semantic or not options.count) and run([sound])[0].status != "survived":
        print("the tests fail without any mutant: fix them first", file=sys.stderr)
        return 2
    results = run(queue, options.workers)
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    survived = [result.mutant.name for result in results if result.status == "survived"]
    if not options.count:
        results.sort(key=lambda result: queue.index(result.mutant))
        operators, heading, meaning = REPORT.read_text(encoding="utf-8").partition("\n" + SEMANTIC_HEADING)
        if options.semantic:
            REPORT.write_text(f"{operators}\n{semantic_report(results)}", encoding="utf-8")
        else:
            REPORT.write_text(report(results, reasons) + heading + meaning, encoding="utf-8")
    unexplained = [name for name in survived if name not in reasons]
    print(f"{len(results)} mutants, {len(survived)} survived, {len(unexplained)} of them unexplained")
    print("".join(f"  unexplained: {name}\n" for name in unexplained), end="")
    enough = bool(options.count) or 1 - len(survived) / len(results) >= THRESHOLD
    return int(bool(unexplained) or not enough)


if __name__ == "__main__":
    sys.exit(main())
