"""Copies of benchmarks' files as a user has them, made from the real ones beside the checkout."""

import gzip
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_config(copy: Path, template: str) -> None:
    """A judge_config.yaml in the form of upstream's, with a system prompt of ours."""
    config = {"system_prompt": "Judge.", "prompt_template": [template], "temperature": 0, "max_tokens": 1024}
    (copy / "judge_config.yaml").write_text(json.dumps(config))


def arena_hard(copy: Path, benchmarks: Path) -> Path:
    """Questions, the baseline's answers, and the judge's template read off the first of the recorded prompts."""
    source = benchmarks / "arena_hard"
    copy.mkdir(parents=True)
    shutil.copy(source / "question.jsonl.gz", copy)
    shutil.copy(source / "answers" / "gpt-4-0314.jsonl.gz", copy)
    check = rows(source / "prompt_check.jsonl.gz")[0]
    (question,) = [row for row in rows(copy / "question.jsonl.gz") if row["question_id"] == check["question_id"]]
    (base,) = [row for row in rows(copy / "gpt-4-0314.jsonl.gz") if row["question_id"] == check["question_id"]]
    template = check["games"][0]["user_prompt"]
    for name, text in (
        ("answer_2", check["answer"]),
        ("answer_1", base["choices"][0]["turns"][0]["content"]),
        ("question_1", question["turns"][0]["content"]),
    ):
        assert template.count(text) == 1
        template = template.replace(text, f"{{{name}}}")
    write_config(copy, template)
    return copy


def mt_bench(copy: Path, benchmarks: Path) -> Path:
    copy.mkdir(parents=True)
    for name in ("question", "reference_answer_gpt-4", "judge_prompts"):
        shutil.copy(benchmarks / "mt_bench" / f"{name}.jsonl.gz", copy)
    return copy
