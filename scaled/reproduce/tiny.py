"""``--scale tiny``: Table 4's eight cells by tiny models and a judge by rule. It shows that all of it works, no more.

Each of the two models is a shipped tiny architecture whose random weights first learn to write as the shipped data do;
seeds tell them apart. Where the paper has two benchmarks, the validation prompts stand for both, and their chosen
responses for the baseline. Nothing that is written here has the form or the names that paper_figures reads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from inspo.command_line import UserError
from scaled.evaluation import folder
from scaled.files import write_atomically
from scaled.reproduce import launch
from scaled.reproduce.recipes import RECIPES
from scaled.reproduce.steps import CONFIGS, EVALUATE, Step, finished
from scaled.reproduce.tables import SCORES

FIRST = ("epochs=4",)
"""Of the models that all runs of one start from."""
SETTINGS = ("epochs=1", "learning_rate=5.0e-4", "beta=0.1")
"""Of every run. D.1's learning rate would not move models that small."""
MARK = "TINY"


def run(options: argparse.Namespace) -> int:
    """Describe or take the steps, then write and print the table.

    Raises:
        UserError: an option that this scale has not, or a step that failed.
    """
    if options.table != 4:
        raise UserError(f"--scale tiny has Table 4 alone, not {options.table}")
    for name in ("copies", "data", "hardware", "hyperparameters", "config", "judge", "endpoint", "prices"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name} is for --scale paper: leave it out")
    if options.launch == "slurm":
        raise UserError("--scale tiny runs on this machine: --launch local")
    rows = [f"{model}/{run}" for model, run in SCORES[4].rows]
    for row in options.only or ():
        if row not in rows:
            raise UserError(f"--only {row}: Table 4 has {', '.join(rows)}")
    out = options.out or Path("results/reproduce-tiny")
    wanted = [row for row in rows if not options.only or row in options.only]
    if options.launch is None:
        found = list(steps(out, wanted, "ENDPOINT"))
        done = sum(step.done() for step in found)
        print(f"Table 4, {MARK}: {len(wanted)} cells, {len(found)} steps, {done} of them done\n")  # noqa: T201
        print("\n".join(f"# {step.name}\n{' '.join(step.command)}" for step in found))  # noqa: T201
        print("\nmissing here:\n  nothing\n\ncosts:\n  no GPU, no account; minutes on two cores")  # noqa: T201
        return 0
    from scaled.examples.evaluate_tiny import PORT, judge

    with judge(PORT) as endpoint:
        if not endpoint:
            raise UserError(f"port {PORT} of the judge is taken: end what has it, or wait for it")
        launch.local(list(steps(out, wanted, endpoint)))
    text = table(out)
    path = out / "table_4_tiny.md"
    write_atomically(path, text)
    print(f"\n{text}\ntable: {path}")  # noqa: T201
    return 0


def steps(out: Path, rows: list[str], endpoint: str) -> Iterator[Step]:
    """The steps of some rows, ``MODEL/RUN`` each."""
    from scaled.examples.evaluate_tiny import JUDGE

    seeds = {model: seed for seed, model in enumerate(SCORES[4].models)}
    for model in dict.fromkeys(row.partition("/")[0] for row in rows):
        first, copy = out / _name(model) / "first", out / _name(model) / "questions"
        yield _train(f"train {_name(model)}", first, (), (*FIRST, f"seed={seeds[model]}"))
        asked = ("questions", *_options((), (f"model={first / 'model'}", f"seed={seeds[model]}")), "--out", str(copy))
        done = (copy / "prompts.jsonl").is_file
        yield Step("questions", f"questions {_name(model)}", ("python", "-m", "scaled.reproduce.values", *asked), done)
    for row in rows:
        model, _, name = row.partition("/")
        start, place = out / _name(model), out / _name(model) / name
        settings = (*SETTINGS, f"model={start / 'first' / 'model'}", f"seed={seeds[model]}")
        yield _train(f"train {_name(model)}/{name}", place, RECIPES[name].files, settings)
        files = ("--benchmark", "pairwise", "--copy", str(start / "questions"))
        answers = ("--answers", str(place / "eval"))
        judged = (*answers, "--judge", JUDGE, "--endpoint", endpoint)
        made = ("--model", str(place), "--out", str(place / "eval"), "--name", f"{_name(model)}-{name}")
        written = folder.answers(place / "eval", "pairwise", ".jsonl").is_file
        scored = folder.scores(place / "eval", "pairwise", JUDGE).is_file
        for kind, command, done in (
            ("generate", (*files, *made, "--device", "cpu"), written),
            ("judge", (*files, *judged), scored),
            ("score", (*files, *judged), scored),
        ):
            yield Step(kind, f"{kind} {_name(model)}/{name}", (*EVALUATE, kind, *command), done)


def _name(model: str) -> str:
    """What stands for a model of the paper's; no table of the paper's has it."""
    return f"tiny-for-{model}"


def _options(files: tuple[str, ...], settings: tuple[str, ...]) -> list[str]:
    configs = [word for file in ("tiny_first.yaml", *files) for word in ("--config", str(CONFIGS / file))]
    return configs + [word for setting in settings for word in ("--set", setting)]


def _train(name: str, out: Path, files: tuple[str, ...], settings: tuple[str, ...]) -> Step:
    options = _options(files, (*settings, f"out={out}"))
    return Step("train", name, ("python", "scaled/train.py", *options), partial(finished, out, options))


def table(out: Path) -> str:
    """Table 4 in Markdown, with what is there."""
    from scaled.examples.evaluate_tiny import JUDGE

    lines = [
        f"**Table 4, {MARK}: 0.4 million weights, shipped prompts, a judge by rule.** Says nothing of the paper's",
        "models and methods; it shows that training, answers, judgments and scores work together.",
        "",
        "| stands for | conditioning | win rate over the chosen responses, percent | questions |",
        "|:--|:--|--:|--:|",
    ]
    for model, name in SCORES[4].rows:
        path = folder.scores(out / _name(model) / name / "eval", "pairwise", JUDGE)
        rate, count = "*not run*", ""
        if path.is_file():
            numbers = json.loads(path.read_text(encoding="utf-8"))["numbers"]
            (number,) = (each for each in numbers if each["metric"] == "pairwise_wr")
            rate, count = f"{number['value']:.1f} ±{number['se']:.1f}", str(number["n"])
        lines.append(f"| {model} | {name} | {rate} | {count} |")
    return "\n".join(lines) + "\n"
