"""A model's answers to a benchmark, in the benchmark's own format; the same command goes on after a kill."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspo.command_line import UserError, count, one_line
from scaled.evaluation import folder
from scaled.evaluation.benchmarks.base import Answer, Sampling, by_name
from scaled.evaluation.commands import add_benchmark
from scaled.evaluation.judging import options as judging
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.options import add_judge, budget_of, check_prices, judge_of
from scaled.evaluation.judging.store import Store
from scaled.files import write_atomically

if TYPE_CHECKING:
    from scaled.evaluation.answering.answers import How

WAYS = ("plain", "revise", "best-of-n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_benchmark(parser)
    add = parser.add_argument
    add("--model", required=True, metavar="FOLDER", help="a run's folder, a model's folder, or a name on the hub")
    add("--revision", help="of the hub's model [main]")
    add("--protocol", choices=("paper", "official"), default="paper", help="temperature, top-p and length [paper]")
    add("--way", choices=WAYS, default="plain", help="pi(.|x); a draft and its revision; the best of n [plain]")
    add("--candidates", type=count, metavar="N", help="of best-of-n [8]")
    add("--choose", choices=("margin", "reward", "judge"), default="margin", help="what best-of-n goes by [margin]")
    add("--reward-model", metavar="FOLDER", help="a sequence classifier, for --choose reward")
    add("--method", help="whose margin: a loss of the trainer [the run's, else simpo]")
    add("--reference", metavar="FOLDER", help="for margins that need one [what the run started from]")
    add("--separator", help="around a draft: none, turn or token:T [the run's, else none]")
    add("--template", default="tokenizer", help="a named chat template [the tokenizer's own]")
    add("--seed", type=int, default=0, help="with question and step, of every random number [0]")
    add("--name", help="what the answers call the model [its folder's or hub name]")
    add("--out", type=Path, metavar="FOLDER", help="[results/eval/NAME/WAY-PROTOCOL-SEED]")
    add("--batch", type=count, metavar="N", help="answers written at once [8; on a GPU 48]")
    add("--dtype", choices=("auto", "float32", "bf16"), default="auto", help="[float32; on a GPU bf16]")
    add("--device", choices=("auto", "cpu"), default="auto", help="a GPU where there is one [auto]")
    add("--backend", choices=("transformers", "vllm"), default="transformers", help="[transformers]")
    add_judge(parser, required=False)


def run(options: argparse.Namespace) -> str:
    """Generate what is not there yet, then write the answers.

    Returns:
        What to show.

    Raises:
        UserError: a benchmark, a model or options that cannot be used.
        KeyboardInterrupt: it was told to stop; what there is is kept.
    """
    _check(options)
    check_prices(options)
    judge = judge_of(options) if options.choose == "judge" else None
    benchmark = by_name(options.benchmark)
    questions = benchmark.questions(options.copy)
    name = options.name or _model_name(options.model)
    out = options.out or Path("results/eval") / folder.file_name(name) / _run_name(options)
    paths = _Paths.of(out, options.benchmark, benchmark.ENDING)
    earlier = _settings_of(paths.settings)

    from scaled.evaluation.answering.answers import Answering
    from scaled.evaluation.answering.judged import Judged
    from scaled.evaluation.answering.progress_file import ProgressFile
    from scaled.generation.policy import Policy

    told = (earlier or {}).get("template_date")
    policy = Policy.of(
        options.model,
        revision=options.revision,
        template=options.template,
        today=dt.date.fromisoformat(told) if told else None,
    )
    answering = Answering(options.benchmark, questions, name, policy, _how(options, benchmark.PROTOCOLS, judge))
    settings = answering.settings()
    if earlier is not None:
        _same(earlier, settings, paths.settings)
        if "counts" in earlier and paths.answers.is_file():
            return f"{paths.answers}: all {len(questions)} answers are there already"
    elif paths.answers.exists():
        raise UserError(f"{paths.answers}: answers of unknown settings are there; name another folder with --out")
    with ProgressFile(paths.progress) as kept, ExitStack() as opened:
        write_atomically(paths.settings, _json(settings))
        try:
            choose = None
            if judge is not None:
                store = opened.enter_context(Store(folder.choices(out, options.benchmark)))
                choose = Judged(name, policy.text, judge, store, budget_of(options, store))
            answers = answering.answers(kept, choose)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped with {len(kept)} completions in {kept.path}; the same command goes on"
            ) from None
        staged = paths.answers.with_name(f".{paths.answers.name}.new")
        benchmark.write_answers(staged, answers, questions)
        staged.replace(paths.answers)
        write_atomically(paths.details, "".join(f"{json.dumps(_details(a), ensure_ascii=False)}\n" for a in answers))
        counts = _counts(answers)
        write_atomically(paths.settings, _json(settings | {"counts": counts}))
        kept.remove()
    return "\n".join(
        [
            f"answers:   {paths.answers}",
            f"details:   {paths.details}",
            *(f"{count:>6} {what}" for what, count in counts.items()),
        ]
    )


@dataclass(frozen=True)
class _Paths:
    """Where all is written."""

    answers: Path
    details: Path
    settings: Path
    progress: Path

    @classmethod
    def of(cls, out: Path, benchmark: str, ending: str) -> _Paths:
        return cls(
            folder.answers(out, benchmark, ending),
            folder.details(out, benchmark),
            folder.settings(out, benchmark),
            folder.answers(out, benchmark, ".progress.jsonl"),
        )


def _check(options: argparse.Namespace) -> None:
    """Options that do not go together, or that nothing would be done with."""
    best = options.way == "best-of-n"
    margin = best and options.choose == "margin"
    for name, used, ways in (
        ("candidates", best, "--way best-of-n"),
        ("method", margin, "--way best-of-n and its margin"),
        ("reference", margin, "--way best-of-n and its margin"),
        ("separator", margin or options.way == "revise", "--way revise and the margin of --way best-of-n"),
        ("batch", options.backend == "transformers", "--backend transformers"),
    ):
        if getattr(options, name) is not None and not used:
            raise UserError(f"--{name} is for {ways}: leave it out")
    given = [name for name in judging.NAMES if getattr(options, name) is not None]
    if options.choose != "judge" and given:
        raise UserError(f"--{given[0].replace('_', '-')} is for --choose judge: leave it out")
    if options.choose == "judge" and options.judge is None:
        raise UserError("--choose judge needs --judge NAME, a model at --endpoint")
    if (options.choose == "reward") != (options.reward_model is not None):
        raise UserError("--choose reward and --reward-model FOLDER go together")
    if options.choose != "margin" and not best:
        raise UserError(f"--choose {options.choose} chooses among candidates: add --way best-of-n")
    if options.backend == "vllm" and options.way == "best-of-n" and options.choose == "margin":
        raise UserError("margins are scored by the transformers backend: leave out --backend vllm")


def _how(options: argparse.Namespace, protocols: Mapping[str, Sampling], judge: Judge | None) -> How:
    """The options as the rooms below have them."""
    import torch

    from scaled.evaluation.answering.answers import CANDIDATES, How

    gpu = options.device != "cpu" and torch.cuda.is_available()
    names = ("protocol", "way", "choose", "reward_model", "method", "reference", "separator", "seed")
    return How(
        **{name: getattr(options, name) for name in names},
        candidates=options.candidates or CANDIDATES,
        judge=None if judge is None else (judge.name, judge.endpoint),
        sampling=protocols[options.protocol],
        slots=options.batch,
        half=options.dtype == "bf16" or (options.dtype == "auto" and gpu),
        gpu=gpu,
        vllm=options.backend == "vllm",
    )


def _model_name(source: str) -> str:
    """The run's name for ``results/train-x/model``, else the last part of a folder, else the hub's name."""
    path = Path(source)
    if not path.is_dir():
        return source
    resolved = path.resolve()
    return resolved.parent.name if resolved.name == "model" else resolved.name


def _run_name(options: argparse.Namespace) -> str:
    return f"{options.way}-{options.protocol}-{options.seed}"


def _settings_of(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); remove it, or name another --out") from None


def _same(earlier: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with other settings than those that were begun with."""
    from scaled.evaluation.answering.answers import resolved

    now = json.loads(json.dumps(settings))
    folders = ("source", "reference", "reward_model")
    for name, value in now.items():
        begun = earlier.get(name)
        if (resolved(begun) if begun and name in folders else begun) != value:
            raise UserError(
                f"{path}: was begun with {name} = {begun!r}, not {value!r}; go on with the same settings, "
                "or name another folder with --out"
            )


def _details(answer: Answer) -> dict[str, Any]:
    return {"question": answer.question, "turns": answer.turns, "tokens": answer.tokens, "parts": answer.extra["turns"]}


def _counts(answers: Sequence[Answer]) -> dict[str, int]:
    """What was written, in turns."""
    parts = [part for answer in answers for part in answer.extra["turns"]]
    return {
        "answers": len(answers),
        "turns": len(parts),
        "turns that are empty": sum(not text for answer in answers for text in answer.turns),
        "turns that were cut off": sum(not part["ended"] for part in parts),
        "drafts that left no room for a revision": sum(bool(part.get("not_revised")) for part in parts),
        "tokens": sum(sum(answer.tokens) for answer in answers),
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
