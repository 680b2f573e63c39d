"""Scores as files and as a table, and the row that paper_figures reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from inspo.command_line import UserError
from scaled.evaluation import folder
from scaled.evaluation.scoring.numbers import Number
from scaled.evaluation.sources import Source

# Columns of the paper's tables, by what our numbers are called; MT-Bench's has its judge's name.
COLUMNS = {
    "alpaca_eval_lc": "AlpacaEval 2 LC",
    "alpaca_eval_wr": "AlpacaEval 2 WR",
    "arena_hard_sc": "Arena-Hard SC",
    "arena_hard_wr": "Arena-Hard WR",
    "mt_bench_gpt_4o": "MT-Bench, GPT-4o",
    "mt_bench_gpt_4": "MT-Bench, GPT-4",
}
MT_BENCH = ("mt_bench_gpt_4o", "mt_bench_gpt_4")
WIDTH = 100
"""Columns that a table's notes take; a table itself is wider only by a long name of a model."""

# Rows of the paper's tables; paper_figures takes no others.
MODELS = ("mistral-7b", "llama-3-8b", "gemma-2-9b")
_METHODS = ("rrhf", "slic", "cpo", "kto", "ipo", "orpo", "r-dpo", "dpo", "simpo")
_LENGTHS_AND_CAPS = [(length, cap) for length in (1024, 2048, 4096) for cap in ("30", "40", "50", "uncapped")]
RUNS = (
    *("instruct", "one-sided-dpo", "averaged-dpo", *_METHODS),
    *(f"ins-{method}" for method in _METHODS),
    *(f"ins-dpo-{length}-{cap}" for length, cap in _LENGTHS_AND_CAPS if (length, cap) != (4096, "40")),
)


def record(benchmark: str, numbers: Sequence[Number], source: Source, seed: int) -> dict[str, Any]:
    """What a file of scores holds; judge, endpoint, dates and prompts are on every number."""
    stamp = {
        "judge": source.judge,
        "endpoint": list(source.endpoints),
        "dates": list(source.dates),
        "prompt_hash": source.prompt_hash,
    }
    return {
        "benchmark": benchmark,
        "seed": seed,
        "empty_answers": _empty(source),
        "numbers": [_number(number) | stamp for number in numbers],
    }


def _empty(source: Source) -> int:
    """Answers of which a turn is empty: kept, and judged like others."""
    return sum(not all(answer.turns) for answer in source.answers)


def _number(number: Number) -> dict[str, Any]:
    return {
        "metric": number.metric,
        "model": number.model,
        "value": number.value,
        "se": number.se,
        "n": number.n,
        "interval_95": None if number.interval is None else list(number.interval),
        "counts": dict(number.counts),
        "fitted_together": list(number.together),
        "note": number.note,
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file.

    Raises:
        UserError: it cannot be written.
    """
    folder.write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def column(number: Number, judge: str) -> str:
    """The paper's column of a number: MT-Bench's average has one for GPT-4o and one for every other judge.

    A model that was fitted alone has none: its number is not comparable with published ones.
    """
    if len(number.together) == 1:
        return f"{number.metric}, alone"
    if number.metric != "mt_bench":
        return number.metric
    return MT_BENCH[0] if "gpt-4o" in judge.lower() else MT_BENCH[1]


def write_row(evaluation: Path, numbers: Sequence[Number], judge: str, trained: Path | None) -> Path:
    """Put numbers into results/eval/MODEL/RUN.json, in place of earlier ones of the same columns.

    Args:
        evaluation: results/eval/MODEL/RUN.
        numbers: of the model.
        judge: who judged.
        trained: the folder that a training run left, with run.json; None to keep what the row says, or for `instruct`.

    Raises:
        UserError: it is not known which training run this is.
    """
    path = evaluation.parent / f"{evaluation.name}.json"
    old = _read(path) if path.is_file() else {}
    if trained is not None:
        run = _read(trained / "run.json")
        seed, config_hash = run.get("seed"), run.get("config_hash")
    elif evaluation.name == "instruct":
        seed, config_hash = 0, "none: nothing was trained"
    else:
        seed, config_hash = old.get("seed"), old.get("config_hash")
    if seed is None or config_hash is None:
        raise UserError(f"{path}: which training run is it of? name its folder, which has run.json, with --trained")
    if old and (old.get("seed"), old.get("config_hash")) != (seed, config_hash):
        raise UserError(f"{path}: is of another training run; move it away first")
    metrics = {entry["metric"]: entry for entry in old.get("metrics", [])}
    for number in numbers:
        name = column(number, judge)
        if name in COLUMNS:
            entry = {"metric": name, "value": number.value, "se": number.se, "n": number.n, "judge": judge}
            metrics[name] = entry | ({"fitted_together": list(number.together)} if number.together else {})
    row = {"model": evaluation.parent.name, "run": evaluation.name, "seed": seed, "config_hash": config_hash}
    write(path, row | {"metrics": [metrics[name] for name in COLUMNS if name in metrics]})
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: is no JSON object")
    return found


def table(benchmark: str, numbers: Sequence[Number], source: Source) -> str:
    """One row a model; below it the categories, what was and was not usable, and what the numbers are worth."""
    overall = [number for number in numbers if not number.category]
    order = [*COLUMNS]
    overall.sort(key=lambda number: order.index(number.metric) if number.metric in order else len(order))
    rows: dict[str, dict[str, str]] = {}
    for number in overall:
        head, digits = _head(benchmark, number.metric), _digits(number)
        row = rows.setdefault(number.model, {"n": str(number.n)})
        row[head] = f"{number.value:.{digits}f}" + ("" if number.se is None else f" ±{number.se:.{digits}f}")
        if number.interval is not None:
            row[f"{head} 95 %"] = "{:.1f} to {:.1f}".format(*number.interval)
    heads = [head for row in rows.values() for head in row if head != "n"]
    parts = [benchmark, _grid("model", rows, [*dict.fromkeys(heads), "n"])]
    by_category: dict[str, dict[str, str]] = {}
    for number in numbers:
        if number.category and number.metric.endswith(f"_{number.category}"):
            by_category.setdefault(number.model, {})[number.category] = f"{number.value:.1f}"
    counts = {
        number.model: {name: str(count) for name, count in number.counts.items()} for number in numbers if number.counts
    }
    parts += [_grid(title, found) for title, found in (("by category", by_category), ("counts", counts)) if found]
    return "\n\n".join([*parts, _notes(numbers, source)])


def _head(benchmark: str, metric: str) -> str:
    """``LC``, ``WR text``, ``turn 1``: what the number is called in the file of scores, less the benchmark."""
    words = metric.removeprefix(benchmark).strip("_").split("_")
    return " ".join(word.upper() if word in ("lc", "sc", "wr") else word for word in words) or "average"


def _digits(number: Number) -> int:
    """Decimals: of percent 1, of points of 10 one more."""
    return 2 if number.metric.startswith(("mt_bench", "pairwise_score")) else 1


def _grid(title: str, rows: Mapping[str, Mapping[str, str]], heads: Sequence[str] = ()) -> str:
    """A line a model, names to the left and figures to the right, empty where a model has no such figure."""
    heads = heads or [*dict.fromkeys(head for row in rows.values() for head in row)]
    lines = [[title, *heads], *([model, *(row.get(head, "") for head in heads)] for model, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    gap = "  " if sum(widths) + 2 * len(heads) <= WIDTH else " "
    return "\n".join(
        gap.join([first.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip() for first, *cells in lines
    )


def _notes(numbers: Sequence[Number], source: Source) -> str:
    """Who judged and when, and what must be known of single numbers; in lines of WIDTH."""
    notes = ["±: standard error, by question; n: questions"]
    notes.append(f"judge: {source.judge}" + (f" at {', '.join(source.endpoints)}" if source.endpoints else ""))
    if source.dates:
        notes.append(f"judged from {source.dates[0]} to {source.dates[1]}; prompts {source.prompt_hash[:12]}")
    if _empty(source):
        notes.append(f"{source.answers[0].model}: {_empty(source)} empty answers, scored as they were judged")
    by_note: dict[str, list[str]] = {}
    for number in numbers:
        if number.note:
            by_note.setdefault(number.note, []).append(f"{number.model} {number.metric}")
    notes += [
        f"{note} ({', '.join(names) if len(names) < 4 else f'{len(names)} numbers'})" for note, names in by_note.items()
    ]
    together = {number.together for number in numbers if number.together}
    notes += [f"fitted together for style control: {', '.join(models)}" for models in sorted(together)]
    fill = TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False).fill
    return "\n".join(map(fill, notes))


def paper_row(evaluation: Path) -> str:
    """One row as the paper's tables have it, from all scores of an evaluation's folder, and what it rests on."""
    cells: dict[str, str] = {}
    counts: dict[str, int] = {}
    for path in sorted((evaluation / "scores").glob("*.json")):
        content = _read(path)
        for entry in content["numbers"]:
            together = tuple(entry["fitted_together"])
            number = Number(entry["metric"], entry["model"], entry["value"], entry["se"], entry["n"], together=together)
            name = column(number, entry["judge"])
            if name in COLUMNS and number.model == content["model"]:
                se = "" if number.se is None else f" ±{number.se:.1f}"
                cells.setdefault(name, f"{number.value:.1f}{se}")
                counts.setdefault(name, number.n)
    heads = [COLUMNS[name] for name in COLUMNS if name in cells]
    if not heads:
        return ""
    title = f"{evaluation.parent.name}/{evaluation.name}"
    rule = "|".join([":--", *["--:"] * len(heads)])
    return "\n".join(
        [
            f"| | {' | '.join(heads)} |",
            f"|{rule}|",
            f"| {title} | {' | '.join(cells[name] for name in COLUMNS if name in cells)} |",
            "",
            f"On so many questions: {', '.join(str(counts[name]) for name in COLUMNS if name in cells)}.",
        ]
    )
