"""Small evaluations in folders: questions of our own, answers, and judgments as a judge would have given them."""

import json
from collections.abc import Callable
from pathlib import Path

from copies import write_config, write_lines

from scaled.evaluation import folder
from scaled.evaluation.benchmarks import arena_hard
from scaled.evaluation.benchmarks.base import Answer, JudgeRequest, Judgment, by_name
from scaled.evaluation.judging.store import Store

NAMES = ("1", "2", "3", "4")


def copy_of(name: str, path: Path) -> Path:
    """A copy of a benchmark with four questions of our own."""
    path.mkdir(parents=True, exist_ok=True)
    if name == "alpaca_eval":
        rows = [{"instruction": f"do {n}", "output": f"base {n}", "generator": "gpt4_1106_preview"} for n in "123456"]
        (path / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows))
    elif name == "arena_hard":
        rows = [{"question_id": n, "category": "c", "cluster": "d", "turns": [{"content": f"do {n}"}]} for n in NAMES]
        write_lines(path / "question.jsonl", rows)
        write_config(path, "{question_1}|{answer_1}|{answer_2}")
        base = [Answer(n, arena_hard.BASELINE, (f"- base {n}",)) for n in NAMES]
        arena_hard.write_answers(path / f"{arena_hard.BASELINE}.jsonl", base, arena_hard.questions(path))
    elif name == "mt_bench":
        write_lines(
            path / "question.jsonl",
            [{"question_id": int(n), "category": "writing", "turns": [f"do {n}", "again"]} for n in NAMES],
        )
        prompt = {"system_prompt": "s", "prompt_template": "{question_1}{answer_1}{answer_2}"}
        write_lines(path / "judge_prompts.jsonl", [{"name": n} | prompt for n in ("single-v1", "single-v1-multi-turn")])
    else:
        write_lines(path / "prompts.jsonl", [{"prompt": f"do {n}", "category": "x"} for n in NAMES])
        write_lines(
            path / "baseline.jsonl", [{"prompt": f"do {n}", "output": f"base {n}", "model": "base"} for n in NAMES]
        )
    return path


Say = Callable[[JudgeRequest], str | Judgment]


def evaluate(
    name: str,
    copy: Path,
    evaluation: Path,
    say: Say,
    *,
    model: str = "ours",
    judge: str = "judge",
    mode: str = "",
    text: str | None = None,
    endpoint: str = "http://judge/v1",
) -> Path:
    """Write a model's answers and a judge's judgments of them into a folder."""
    benchmark = by_name(name)
    questions = benchmark.questions(copy)
    turns = len(questions[0].turns)
    said_of = {q.name: f"{model} on {q.name} *" + "x" * int(q.name) if text is None else text for q in questions}
    answers = [Answer(name, model, (said,) * turns) for name, said in said_of.items()]
    path = folder.answers(evaluation, name, benchmark.ENDING)
    path.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_answers(path, answers, questions)
    with Store(folder.judgments(evaluation, name, judge)) as store:
        for first in benchmark.requests(copy, questions, answers, mode or benchmark.MODES[0]):
            request: JudgeRequest | None = first
            while request is not None:
                said = say(request)
                found = Judgment(said) if isinstance(said, str) else said
                found = Judgment(found.text, found.logprobs, date="2026-11-26T10:00:00Z", endpoint=endpoint)
                store.add(request, judge, found)
                request = benchmark.follow_up(request, found)
    return evaluation
