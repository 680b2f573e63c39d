"""Scores as files and as a table, and the row that paper_figures reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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
            metrics[name] = entry
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
    """The numbers of one benchmark, one line each, with what they are worth."""
    rows = [("model", "number", "value", "se", "95 %", "n")]
    for number in numbers:
        interval = "" if number.interval is None else "{:.1f} to {:.1f}".format(*number.interval)
        se = "" if number.se is None else f"{number.se:.2f}"
        rows.append((number.model, number.metric, f"{number.value:.2f}", se, interval, str(number.n)))
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    lines = ["  ".join(row) for row in zip(*map(_aligned, columns), strict=True)]
    notes = [f"judge: {source.judge}" + (f" at {', '.join(source.endpoints)}" if source.endpoints else "")]
    if source.dates:
        notes.append(f"judged from {source.dates[0]} to {source.dates[1]}; prompts {source.prompt_hash[:12]}")
    if _empty(source):
        notes.append(f"{source.answers[0].model}: {_empty(source)} empty answers, scored as they were judged")
    for number in numbers:
        if number.counts:
            counts = ", ".join(f"{value} {name}" for name, value in number.counts.items())
            notes.append(f"{number.model}, {number.metric}: {counts}")
    by_note: dict[str, list[str]] = {}
    for number in numbers:
        if number.note:
            by_note.setdefault(number.note, []).append(f"{number.model} {number.metric}")
    notes += [
        f"{note} ({', '.join(names) if len(names) < 4 else f'{len(names)} numbers'})" for note, names in by_note.items()
    ]
    together = {number.together for number in numbers if number.together}
    notes += [f"fitted together for style control: {', '.join(models)}" for models in sorted(together)]
    return "\n".join([benchmark, "", *lines, "", *notes])


def _aligned(cells: Sequence[str]) -> list[str]:
    """A column as wide as its widest cell, names to the left and figures to the right."""
    width = max(map(len, cells))
    return [cell.ljust(width) if cells[0] in ("model", "number") else cell.rjust(width) for cell in cells]


def paper_row(evaluation: Path) -> str:
    """One row as the paper's tables have it, from all scores of an evaluation's folder."""
    cells: dict[str, str] = {}
    for path in sorted((evaluation / "scores").glob("*.json")):
        content = _read(path)
        for entry in content["numbers"]:
            together = tuple(entry["fitted_together"])
            number = Number(entry["metric"], entry["model"], entry["value"], entry["se"], entry["n"], together=together)
            name = column(number, entry["judge"])
            if name in COLUMNS and number.model == content["model"]:
                se = "" if number.se is None else f" ±{number.se:.1f}"
                cells.setdefault(name, f"{number.value:.1f}{se}")
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
        ]
    )
