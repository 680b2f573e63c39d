"""``python -m scaled.reproduce --table N``: a table of the paper as runs, what they cost, and taking them."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspo.command_line import OneLineParser, UserError, exit_code
from scaled.reproduce.tables import SCORES, TABLES, cells

if TYPE_CHECKING:
    from scaled.reproduce.steps import Choices, Step


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""
    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    return exit_code(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m scaled.reproduce",
        description="Expand a table of the paper into its runs, say what they cost and what is missing, and take them.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--table", type=int, required=True, choices=TABLES, help="of the paper")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="say it, and do nothing: the default")
    how.add_argument("--launch", choices=("local", "slurm"), help="here one after another, or as jobs of Slurm")
    add("--scale", choices=("paper", "tiny"), default="paper", help="tiny: Table 4 by tiny models and a judge by rule")
    add("--out", type=Path, metavar="FOLDER", help="of all that is made [results; tiny: results/reproduce-tiny]")
    add("--only", nargs="+", metavar="MODEL/RUN", help="these rows alone, such as llama-3-8b/ins-dpo")
    add(
        "--copies",
        type=Path,
        metavar="FOLDER",
        help="with alpaca_eval, arena_hard, mt_bench [benchmarks/copies]",
    )
    add("--data", metavar="NAME", help="file of scaled/configs/data [ultrafeedback]")
    add("--hardware", metavar="NAME", help="file of scaled/configs/hardware [four-80gb]")
    add(
        "--config",
        action="append",
        metavar="FILE",
        help="also for every training, such as scaled/configs/adapter/lora.yaml",
    )
    add("--hyperparameters", choices=("search", "files"), help="D.1's, or those of scaled/configs/method [search]")
    add("--judge", metavar="NAME", help="of all benchmarks [the paper's: GPT-4 models that have left OpenAI's API]")
    add("--endpoint", metavar="URL", help="of the judge [OpenAI's]")
    add("--prices", nargs=2, type=float, metavar=("PROMPT", "ANSWER"), help="of the judge, dollars per million tokens")
    return parser


def _run(options: argparse.Namespace) -> int:
    if not Path("scaled/configs").is_dir():
        raise UserError("scaled/configs is not here: start in the folder of the checkout")
    if options.scale == "tiny":
        from scaled.reproduce import tiny

        return tiny.run(options)
    from scaled.reproduce import launch
    from scaled.reproduce.steps import CONFIGS, Choices, steps

    _check_rows(options)
    for kind in ("data", "hardware"):
        name = getattr(options, kind)
        if name is not None and not (CONFIGS / kind / f"{name}.yaml").is_file():
            known = ", ".join(sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml")))
            raise UserError(f"--{kind} {name}: must be one of {known}")
    given = {name: getattr(options, name) for name in ("out", "copies", "judge", "endpoint", "data", "hardware")}
    choices = Choices(
        **({"out": Path("results"), "copies": Path("benchmarks/copies")} | {k: v for k, v in given.items() if v}),
        search=options.hyperparameters != "files",
        configs=tuple(options.config or ()),
        only=tuple(options.only or ()),
    )
    found = steps(options.table, choices)
    if options.launch:
        _check_missing([step for step in found if not step.done()], choices, options.launch)
    if options.launch == "local":
        launch.local(found)
        print(f"\nall done; now python -m paper_figures --results {choices.out} --only table_{options.table}")  # noqa: T201
    elif options.launch == "slurm":
        print(launch.slurm(found, choices.out / "slurm" / f"table-{options.table}"))  # noqa: T201
    else:
        print(described(options.table, choices, options.prices))  # noqa: T201
    return 0


def _check_rows(options: argparse.Namespace) -> None:
    if options.only is None:
        return
    if options.table not in SCORES:
        raise UserError("--only is for rows of Tables 2 to 4: leave it out")
    rows = [f"{model}/{run}" for model, run in SCORES[options.table].rows]
    for row in options.only:
        if row not in rows:
            raise UserError(f"--only {row}: Table {options.table} has {', '.join(rows)}")


NEEDED = {"local": ("GPUs", "copy", "judge"), "slurm": ("copy", "judge")}
"""What must be here when a table is launched; jobs have the GPUs of their nodes."""


def _check_missing(todo: Sequence[Step], choices: Choices, launch: str) -> None:
    """Raise where a step would fail, before hours are spent on those before it."""
    from scaled.reproduce.missing import missing

    found = [each for each in missing(todo, choices) if each.what in NEEDED[launch]]
    if found:
        more = f" (and {len(found) - 1} more, see --dry-run)" if len(found) > 1 else ""
        raise UserError(f"--launch {launch}: {found[0].what}: {found[0].text}{more}")


def described(number: int, choices: Choices, prices: tuple[float, float] | None) -> str:
    """What ``--dry-run`` prints: every step with its command, what is missing, costs, and what D.1 leaves open."""
    from scaled.reproduce.costs import cost, summary
    from scaled.reproduce.missing import missing
    from scaled.reproduce.steps import steps
    from scaled.reproduce.values import NOTES

    found = steps(number, choices)
    todo = [step for step in found if not step.done()]
    whole = cells(number)
    lines = [f"Table {number}: {len(whole)} cells, {len(found)} steps, {len(found) - len(todo)} of them done", ""]
    for step in found:
        about = cost(step, choices, prices) if step in todo else "done, skipped"
        lines += [f"# {step.name}{f': {about}' if about else ''}", shlex.join(step.command)]
    if number == 5:
        lines += ["", "max_length and draft_revise of Table 5 are no measurements: paper_figures states them."]
    lines += [
        "",
        "missing here:",
        *([f"  {each.what}: {each.text}" for each in missing(todo, choices)] or ["  nothing"]),
    ]
    lines += ["", "costs of what is not done:", *(f"  {line}" for line in summary(todo, choices, prices) or ["none"])]
    if any(step.kind == "choose" for step in found):
        lines += ["", "hyperparameters:", *(f"  {line}" for line in NOTES.splitlines())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
