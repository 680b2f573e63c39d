"""How long scoring takes: AlpacaEval 2's 805 items with the win rate at equal length, and Arena-Hard's style control.

    python benchmarks/score_speed.py [--models N]

Judgments are random, in a store as a judge leaves them, so that no benchmark's data is needed. The command runs in a
process of its own, importing included; medians of three turns.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from scaled.evaluation import folder
from scaled.evaluation.benchmarks import alpaca_eval, arena_hard
from scaled.evaluation.benchmarks.base import Answer, Benchmark, Judgment, by_name
from scaled.evaluation.judging.store import Store

WORDS = ("the", "of", "and", "to", "in", "is", "you", "that", "it", "was", "for", "on", "are", "with", "as", "this")
LABELS = ("[[A>>B]]", "[[A>B]]", "[[A=B]]", "[[B>A]]", "[[B>>A]]")


def text(rng: np.random.Generator) -> str:
    """An answer of about 100 to 400 words, with some lists."""
    words = rng.choice(WORDS, int(rng.integers(100, 400)))
    return "\n- ".join(" ".join(part) for part in np.array_split(words, int(rng.integers(1, 9))))


def alpaca_copy(copy: Path, rng: np.random.Generator) -> None:
    """805 instructions with a baseline's outputs, difficulty and gamed rows."""
    rows = [{"instruction": f"do {n}", "output": text(rng), "generator": "gpt4_1106_preview"} for n in range(805)]
    (copy / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps(rows))
    difficulty = rng.normal(size=805)
    lines = ["model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline"]
    for model, shift in (("concise", 2.0), ("verbose", -2.0)):
        lines += [f"{model},{n},{rng.random()},{shift + rng.normal()},{difficulty[n]},False" for n in range(805)]
    (copy / "df_gamed.csv").write_text("\n".join(lines))


def arena_copy(copy: Path, rng: np.random.Generator) -> None:
    """500 questions with a baseline's answers."""
    lines = [{"question_id": str(n), "category": "c", "turns": [{"content": f"do {n}"}]} for n in range(500)]
    (copy / "question.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = {"system_prompt": "s", "temperature": 0, "max_tokens": 1024}
    template = "{question_1} {answer_1} {answer_2}"
    (copy / "judge_config.yaml").write_text(json.dumps(config | {"prompt_template": [template]}))
    base = [Answer(str(n), arena_hard.BASELINE, (text(rng),)) for n in range(500)]
    arena_hard.write_answers(copy / f"{arena_hard.BASELINE}.jsonl", base, arena_hard.questions(copy))


def evaluation(benchmark: Benchmark, copy: Path, out: Path, model: str, rng: np.random.Generator) -> None:
    """Random answers of one model and random judgments of them."""
    questions = benchmark.questions(copy)
    answers = [Answer(question.name, model, (text(rng),)) for question in questions]
    path = folder.answers(out, benchmark.NAME, benchmark.ENDING)
    path.parent.mkdir(parents=True)
    benchmark.write_answers(path, answers, questions)
    with Store(folder.judgments(out, benchmark.NAME, "judge")) as store:
        for request in benchmark.requests(copy, questions, answers, benchmark.MODES[0]):
            share = float(rng.uniform(0.01, 0.99))
            logprobs = {"m": math.log(share), "M": math.log(1 - share)}
            store.add(request, "judge", Judgment(str(rng.choice(LABELS)), logprobs))


def timed(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "scaled.evaluation", "score", *arguments], check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one line for each benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=int, default=9, help="fitted together by Arena-Hard's style control")
    count = parser.parse_args().models
    rng = np.random.default_rng(0)
    print("| what | wanted | wall s | CPU s |\n|---|---|---|---|")
    for name, make, models, wanted in (
        (alpaca_eval.NAME, alpaca_copy, 1, "< 10 s"),
        (arena_hard.NAME, arena_copy, count, "-"),
    ):
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "copy"
            copy.mkdir()
            make(copy, rng)
            outs = [Path(place) / f"eval/m{number}/run" for number in range(models)]
            for out in outs:
                evaluation(by_name(name), copy, out, out.parent.name, rng)
            more = ["--together", *map(str, outs[1:])] if outs[1:] else []
            arguments = ["--benchmark", name, "--copy", str(copy), "--answers", str(outs[0]), *more]
            walls, cpus = zip(*(timed(*arguments) for _ in range(3)), strict=True)
            shown = f"{median(walls):.1f} | {median(cpus):.1f}"
            print(f"| `score --benchmark {name}`, models: {models} | {wanted} | {shown} |")


if __name__ == "__main__":
    main()
