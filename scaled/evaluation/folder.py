"""What one evaluation of one model keeps, and where.

results/eval/MODEL/RUN/
    answers/BENCHMARK.json[l]             in the benchmark's own format
    answers/BENCHMARK.settings.json       model, protocol, seed: what the answers were made with, and their counts
    answers/BENCHMARK.details.jsonl       of each answer: tokens, what was cut off, drafts, candidates with scores
    answers/BENCHMARK.progress.jsonl      completions so far, until the answers are written
    answers/BENCHMARK.choices.jsonl       a judge's verdicts on candidates, where one chooses; append-only
    judgments/BENCHMARK--JUDGE.jsonl      every request with its answer, append-only
    scores/BENCHMARK--JUDGE.json          numbers with standard errors, and what they are of
    page.html
results/eval/MODEL/RUN.json               what paper_figures reads
"""

from __future__ import annotations

import re
from pathlib import Path

from inspo.command_line import UserError
from scaled.files import write_atomically

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(name: str) -> str:
    """A name that may stand in a path: ``openai/gpt-4`` becomes ``openai-gpt-4``.

    >>> file_name("openai/gpt 4")
    'openai-gpt-4'
    """
    return _UNSAFE.sub("-", name).strip("-.") or "unnamed"


def judgments(folder: Path, benchmark: str, judge: str) -> Path:
    """The store of a judge's answers about a benchmark."""
    return folder / "judgments" / f"{benchmark}--{file_name(judge)}.jsonl"


def stores(folder: Path, benchmark: str) -> list[Path]:
    """All judges' answers about a benchmark, without files that are still empty."""
    return sorted(path for path in (folder / "judgments").glob(f"{benchmark}--*.jsonl") if path.stat().st_size)


def scores(folder: Path, benchmark: str, judge: str) -> Path:
    """The scores by a judge on a benchmark."""
    return folder / "scores" / f"{benchmark}--{file_name(judge)}.json"


def answers(folder: Path, benchmark: str, ending: str) -> Path:
    """A model's answers to a benchmark."""
    return folder / "answers" / f"{benchmark}{ending}"


def settings(folder: Path, benchmark: str) -> Path:
    """What the answers were made with."""
    return folder / "answers" / f"{benchmark}.settings.json"


def details(folder: Path, benchmark: str) -> Path:
    """What the answers came from."""
    return folder / "answers" / f"{benchmark}.details.jsonl"


def choices(folder: Path, benchmark: str) -> Path:
    """The store of the judge that candidates are chosen by."""
    return folder / "answers" / f"{benchmark}.choices.jsonl"


def write(path: Path, text: str) -> None:
    """Write a file whole, or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(errors="replace").decode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name a folder that can") from None
