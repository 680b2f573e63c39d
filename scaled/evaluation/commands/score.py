"""Score a model's judged answers: numbers with standard errors, a table, and the row that paper_figures reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspo.command_line import UserError
from scaled.evaluation import folder, results
from scaled.evaluation.benchmarks.base import by_name, mode_of
from scaled.evaluation.commands import add_benchmark, add_judgments
from scaled.evaluation.measures import Setting, numbers
from scaled.evaluation.sources import Source, of_file, of_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_benchmark(parser)
    add = parser.add_argument
    add("--answers", type=Path, metavar="FOLDER", help="results/eval/MODEL/RUN, which judge wrote into")
    add_judgments(parser)
    add(
        "--together",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="other models: judgment files in the benchmark's own format, or folders as --answers; Arena-Hard's style"
        " control fits all of them together",
    )
    add(
        "--styles",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="answers of the models whose judgments are files",
    )
    add(
        "--refit",
        type=Path,
        metavar="CSV",
        help="other models' judgments, where AlpacaEval's copy has no df_gamed.csv",
    )
    add("--partial", action="store_true", help="score what is there where judgments are missing")
    add("--row", metavar="MODEL/RUN", help="also write results/eval/MODEL/RUN.json, from which tables are filled")
    add("--results", type=Path, metavar="FOLDER", help="where --row writes, in place of results")
    add("--trained", type=Path, metavar="FOLDER", help="what the training run left, for --row: seed and configuration")
    add("--seed", type=int, default=0, help="of intervals [0]")


def run(options: argparse.Namespace) -> str:
    """Score.

    Returns:
        What to show.

    Raises:
        UserError: an option, the user's files, or judgments that are missing or do not fit together.
    """
    _check(options)
    benchmark = by_name(options.benchmark)
    mode = mode_of(benchmark, options.mode)
    row = _row(options.row, options.results or Path("results"))
    evaluation: Path | None = options.answers or row
    questions = benchmark.questions(options.copy)

    def source(path: Path) -> Source:
        if path.is_file():
            if options.benchmark == "pairwise":
                raise UserError(f"{path}: pairwise has no files of its own; name an evaluation's folder")
            return of_file(benchmark, path)
        return of_folder(
            benchmark,
            options.copy,
            questions,
            path,
            judge=options.judge,
            endpoint=options.endpoint,
            mode=mode,
            partial=options.partial,
        )

    own = [] if evaluation is None else [source(evaluation)]
    sources = [*own, *(source(path) for path in options.together)]
    if options.judge not in (None, sources[0].judge):
        raise UserError(f"--judge {options.judge}: {sources[0].place} is by {sources[0].judge}")
    setting = Setting(
        options.copy, questions, mode, options.partial, tuple(options.styles), options.refit, options.seed
    )
    found = numbers(options.benchmark, sources, setting)
    shown = [results.table(options.benchmark, found, sources[0])]
    if evaluation is not None:
        model = own[0].answers[0].model
        path = folder.scores(evaluation, options.benchmark, own[0].judge)
        results.write(path, {"model": model} | results.record(options.benchmark, found, own[0], options.seed))
        shown += [results.paper_row(evaluation), f"scores: {path}"]
        if row is not None:
            mine = [number for number in found if number.model == model]
            shown.append(f"row: {results.write_row(row, mine, own[0].judge, options.trained)}")
    return "\n\n".join(part for part in shown if part)


def _check(options: argparse.Namespace) -> None:
    """Options that are out of range, or that nothing would be done with."""
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: must be at least 0")
    if not (options.answers or options.row or options.together):
        raise UserError("nothing to score: name an evaluation's folder with --answers, or judgments with --together")
    for name, benchmark in (("styles", "arena_hard"), ("refit", "alpaca_eval")):
        if getattr(options, name) and options.benchmark != benchmark:
            raise UserError(f"--{name}: {benchmark} alone takes it; leave it out")
    for given in ("trained", "results"):
        if getattr(options, given) is not None and options.row is None:
            raise UserError(f"--{given}: goes with --row MODEL/RUN; name the row, or leave it out")


def _row(name: str | None, place: Path) -> Path | None:
    """The folder of a row."""
    if name is None:
        return None
    model, _, run = name.partition("/")
    for part, known in ((model, results.MODELS), (run, results.RUNS)):
        if part not in known:
            raise UserError(
                f"--row {name}: must be MODEL/RUN of the paper's tables; {part!r} is not in {', '.join(known)}"
            )
    return place / "eval" / name
