"""A table as steps, each one command: what it waits for, what it leaves behind, and whether that is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from scaled.config import load, read_mapping
from scaled.evaluation import folder
from scaled.evaluation.benchmarks.base import by_name
from scaled.evaluation.results import MT_BENCH
from scaled.reproduce.recipes import BASES, RECIPES
from scaled.reproduce.tables import COST_MODELS, COST_RUNS, COSTS, GPT_4_TURBO, SCORES, Scoring
from scaled.reproduce.values import points, searched

GPUS = {"four-80gb": 4, "offload": 8, "one-80gb": 1, "one-24gb": 1}
"""Of a training, by file of ``hardware/``; the first are D.6's."""

EVALUATE = ("python", "-m", "scaled.evaluation")
CONFIGS = Path("scaled/configs")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        kind: train, questions, generate, judge, score, choose or measure.
        name: unique, such as ``generate llama-3-8b/dpo arena_hard``.
        command: its words.
        done: whether what it leaves behind is there; of judging, whether it was scored, for only then is it complete.
        after: names of steps that must have ended well before.
        gpus: that it takes.
        benchmark: that it is about, or empty.
        model: that it is about, as tables name it.
    """

    kind: str
    name: str
    command: tuple[str, ...]
    done: Callable[[], bool]
    after: tuple[str, ...] = ()
    gpus: int = 0
    benchmark: str = ""
    model: str = ""


@dataclass(frozen=True)
class Choices:
    """What the user decides.

    Attributes:
        out: folder of all that is made; ``results`` is what paper_figures reads.
        copies: folder with the benchmarks' files, a folder each.
        judge: who judges all, or None for the paper's judges.
        endpoint: of the judge, or None for OpenAI's.
        data: file of ``data/``.
        hardware: file of ``hardware/``.
        configs: more files for every training, over all others, such as one of ``adapter/``.
        search: whether hyperparameters are searched as D.1 says, or taken from the files of methods.
        only: rows to make, ``MODEL/RUN`` each; none for all.
    """

    out: Path
    copies: Path
    judge: str | None = None
    endpoint: str | None = None
    data: str = "ultrafeedback"
    hardware: str = "four-80gb"
    configs: tuple[str, ...] = ()
    search: bool = True
    only: tuple[str, ...] = ()

    def judged_by(self, scorings: Iterable[Scoring]) -> list[Scoring]:
        """The scorings with the user's judge, without a column that is another judge's."""
        if self.judge is None:
            return list(scorings)
        other = MT_BENCH["gpt-4o" in self.judge.lower()]
        return [each._replace(judge=self.judge) for each in scorings if other not in each.metrics]

    def at(self) -> tuple[str, ...]:
        """The endpoint as options."""
        return () if self.endpoint is None else ("--endpoint", self.endpoint)


def steps(number: int, choices: Choices) -> list[Step]:
    """Every step of a table, in an order in which they can be taken."""
    found: dict[str, Step] = {}
    made = _costs(choices) if number not in SCORES else _scores(number, choices)
    for step in made:
        found.setdefault(step.name, step)
    return list(found.values())


def filled(row: Path, metrics: Iterable[str], judge: str | None = None) -> bool:
    """Whether a result file has all of these metrics, by this judge."""
    try:
        entries = json.loads(row.read_text(encoding="utf-8"))["metrics"]
        return set(metrics) <= {entry["metric"] for entry in entries if judge in (None, entry["judge"])}
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _costs(choices: Choices) -> Iterator[Step]:
    """Tables 5 and 7: one measurement a model, of both objectives."""
    for model in COST_MODELS:
        command = ("python", "benchmarks/cost.py", "--device", "cuda", "--models", model, "--results", str(choices.out))
        done = partial(_measured, choices.out / "cost" / model)
        yield Step("measure", f"measure {model}", command, done, gpus=1, model=model)


def _measured(place: Path) -> bool:
    return all(filled(place / f"{run}.json", COSTS[7]) for run in COST_RUNS)


def _scores(number: int, choices: Choices) -> Iterator[Step]:
    table = SCORES[number]
    rows = [(model, run) for model, run in table.rows if not choices.only or f"{model}/{run}" in choices.only]
    scorings = choices.judged_by(table.scorings)
    late: list[Step] = []
    for model, run in rows:
        row = choices.out / "eval" / model / f"{run}.json"
        missing = [each for each in scorings if not filled(row, each.metrics, each.judge)]
        if missing:  # a row whose cells are all there needs no training, wherever it was
            yield from _training(model, run, choices)
        for scoring in scorings:
            together = [each for each in rows if each != (model, run)] if "arena_hard_sc" in scoring.metrics else []
            *early, score = _evaluation(model, run, scoring, choices, together)
            yield from early
            late.append(score)
    yield from late


def configuration(model: str, run: str, choices: Choices) -> list[str]:
    """The files and settings of a run, as options."""
    recipe = RECIPES[run]
    first = (f"base/{BASES[model]}.yaml", f"data/{choices.data}.yaml")
    files = [*first, *recipe.files, f"hardware/{choices.hardware}.yaml"]
    options = [word for file in files for word in ("--config", str(CONFIGS / file))]
    options += [word for file in choices.configs for word in ("--config", file)]
    return options + [word for setting in recipe.settings for word in ("--set", setting)]


def instruct_model(model: str) -> str:
    """The hub's name of what a model's runs start from."""
    return str(read_mapping(CONFIGS / "base" / f"{BASES[model]}.yaml")["model"])


def trained(choices: Choices, model: str, run: str) -> Path:
    """Where a run's training is."""
    return choices.out / "train" / model / run


def _training(model: str, run: str, choices: Choices) -> Iterator[Step]:
    """The training of a run, and the search before it; nothing for the instruct model."""
    if run == "instruct":
        return
    source = searched(run) if choices.search else None
    out = trained(choices, model, run)
    if source == run:
        yield from _search(model, run, choices)
        return
    options, after = configuration(model, run, choices), tuple[str, ...]()
    if source is not None:
        yield from _search(model, source, choices)
        options += ["--config", str(choices.out / "search" / model / source / "chosen.yaml")]
        after = (f"choose {model}/{source}",)
    yield _train(f"train {model}/{run}", model, options, out, GPUS[choices.hardware], after)


def _train(name: str, model: str, options: list[str], out: Path, gpus: int, after: tuple[str, ...] = ()) -> Step:
    options = [*options, "--set", f"out={out}"]
    command = ("deepspeed", "--num_gpus", str(gpus), "scaled/train.py", *options)
    return Step("train", name, command, partial(finished, out, options), after, gpus, model=model)


def finished(out: Path, options: Sequence[str]) -> bool:
    """Whether a training has ended there, with the configuration that these options say."""
    files, settings = ([value for key, value in pairwise(options) if key == name] for name in ("--config", "--set"))
    try:
        found = json.loads((out / "run.json").read_text(encoding="utf-8"))
        return bool(found["config_hash"] == load(files, settings).hash())
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _search(model: str, run: str, choices: Choices) -> Iterator[Step]:
    """D.1's: every point of the grid trained and compared, and the best one chosen; all done once it is."""
    chosen = (choices.out / "search" / model / run / "chosen.yaml").is_file
    for step in _points(model, run, choices):
        yield step if step.kind == "questions" else replace(step, done=partial(_any, chosen, step.done))


def _points(model: str, run: str, choices: Choices) -> Iterator[Step]:
    top = choices.out / "search" / model
    copy, search, judge = top / "questions", top / run, choices.judge or GPT_4_TURBO
    name = f"{model}/{run}"
    config = configuration(model, "dpo", choices)
    ask = ("python", "-m", "scaled.reproduce.values")
    asked = (*ask, "questions", *config, "--out", str(copy))
    yield Step("questions", f"questions {model}", asked, (copy / "prompts.jsonl").is_file, model=model)
    scored = []
    for point, values in points(run).items():
        out = search / point
        options = configuration(model, run, choices)
        options += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        train = _train(f"train {name} {point}", model, options, out, GPUS[choices.hardware])
        yield train
        for step in _judged(f"{name} {point}", model, str(out), out / "eval", copy, "pairwise", judge, choices):
            yield replace(step, after=(f"questions {model}", train.name)) if step.kind == "generate" else step
        scored.append(f"score {name} {point} pairwise by {judge}")
    link = trained(choices, model, run)
    command = (*ask, "choose", str(search), *points(run), "--judge", judge, "--link", str(link))
    done = (search / "chosen.yaml").is_file
    yield Step("choose", f"choose {name}", command, done, tuple(scored), model=model)


def _judged(
    name: str, model: str, source: str, out: Path, copy: Path, benchmark: str, judge: str, choices: Choices
) -> Iterator[Step]:
    """Generate, judge and score, as yet with nothing to wait for but each other."""
    files = ("--benchmark", benchmark, "--copy", str(copy))
    answers = ("--answers", str(out), "--judge", judge, *choices.at())
    generate = (*EVALUATE, "generate", *files, "--model", source, "--out", str(out), "--name", folder.file_name(name))
    written = folder.answers(out, benchmark, by_name(benchmark).ENDING).is_file
    scores = folder.scores(out, benchmark, judge).is_file
    first, second = f"generate {name} {benchmark}", f"judge {name} {benchmark} by {judge}"
    yield Step("generate", first, generate, written, (), 1, benchmark, model)
    yield Step("judge", second, (*EVALUATE, "judge", *files, *answers), scores, (first,), 0, benchmark, model)
    score = (*EVALUATE, "score", *files, *answers)
    yield Step("score", f"score {name} {benchmark} by {judge}", score, scores, (second,), 0, benchmark, model)


def _evaluation(
    model: str, run: str, scoring: Scoring, choices: Choices, together: list[tuple[str, str]]
) -> Iterator[Step]:
    """The cells of a row that one judge gives on one benchmark.

    Args:
        model: of the row.
        run: of the row.
        scoring: benchmark, judge and metrics.
        choices: the user's.
        together: other rows whose style is controlled for in one fit; none where no metric needs it.
    """
    name, out = f"{model}/{run}", choices.out / "eval" / model / run
    copy = choices.copies / scoring.benchmark
    training = trained(choices, model, run)
    instruct = run == "instruct"
    source = instruct_model(model) if instruct else str(training)
    last = f"choose {name}" if choices.search and searched(run) == run else f"train {name}"

    def done() -> bool:
        return filled(out.with_name(f"{run}.json"), scoring.metrics, scoring.judge)

    for step in _judged(name, model, source, out, copy, scoring.benchmark, scoring.judge, choices):
        after, command, already = step.after, step.command, step.done
        if step.kind == "generate":
            after = () if instruct else (last,)
        if step.kind == "score":
            already = done
            command += ("--row", name, "--results", str(choices.out))
            command += () if instruct else ("--trained", str(training))
            if together:
                command += ("--together", *(str(choices.out / "eval" / one / other) for one, other in together))
                after += tuple(f"judge {one}/{other} {scoring.benchmark} by {scoring.judge}" for one, other in together)
        yield replace(step, after=after, command=command, done=partial(_any, already, done))


def _any(first: Callable[[], bool], second: Callable[[], bool]) -> bool:
    return first() or second()
