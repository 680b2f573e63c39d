"""One model's answers to one benchmark: every question a conversation, all of them carried on at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.preference_loss import PreferenceLoss
from scaled.data.messages import Message
from scaled.evaluation.answering.progress_file import ProgressFile
from scaled.evaluation.benchmarks.base import Answer, Question, Sampling
from scaled.generation.batching import TransformersBackend, context_of
from scaled.generation.interface import Backend, Completion, Request, Settings
from scaled.generation.margins import Margins
from scaled.generation.policy import Policy, load_model
from scaled.generation.rewards import RewardModel
from scaled.generation.vllm_backend import VllmBackend
from scaled.generation.ways import (
    Answered,
    Asked,
    BestOf,
    Chooser,
    Revise,
    Steps,
    TogetherChooser,
    Way,
    drive,
    plain,
)
from scaled.model.loading import weights_fingerprint
from scaled.progress import progress

SLOTS = {"cpu": 8, "cuda": 48}
"""Answers that are written at once."""
CANDIDATES = 8
"""Of best-of-n."""


@dataclass(frozen=True)
class How:
    """How answers are made.

    Attributes:
        protocol: its name.
        sampling: of the protocol.
        way: ``plain``, ``revise`` or ``best-of-n``.
        candidates: n.
        choose: ``margin``, ``reward`` or ``judge``.
        reward_model: folder or hub name, for ``reward``.
        judge: name and endpoint of the judge, for ``judge``.
        method: the loss whose margin is meant; None for the run's, else simpo.
        reference: folder or hub name of the margin's reference; None for what the run started from.
        separator: around a draft; None for the run's, else none.
        seed: of every random number, with question and step.
        slots: answers that are written at once; None for :data:`SLOTS`.
        half: whether weights are bf16, else float32.
        gpu: whether on a GPU.
        vllm: whether by vLLM.
    """

    protocol: str
    sampling: Sampling
    way: str = "plain"
    candidates: int = CANDIDATES
    choose: str = "margin"
    reward_model: str | None = None
    judge: tuple[str, str] | None = None
    method: str | None = None
    reference: str | None = None
    separator: str | None = None
    seed: int = 0
    slots: int | None = None
    half: bool = False
    gpu: bool = False
    vllm: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return torch.bfloat16 if self.half else torch.float32

    @property
    def by_margin(self) -> bool:
        """Whether candidates are chosen by the policy's own margin."""
        return self.way == "best-of-n" and self.choose == "margin"


@dataclass(frozen=True, eq=False)
class Answering:
    """Makes them.

    Attributes:
        benchmark: its name.
        questions: all of them.
        name: what the answers call the model.
        policy: the model.
        how: the settings.
    """

    benchmark: str
    questions: Sequence[Question]
    name: str
    policy: Policy
    how: How

    def settings(self) -> dict[str, Any]:
        """All that answers depend on, but the machine and the versions of the libraries.

        Raises:
            UserError: a margin that cannot be computed, or a separator that is none.
        """
        policy, how = self.policy, self.how
        loss = self._loss() if how.by_margin else None
        if loss is not None and how.reference and not loss.reads.needs_reference:
            raise UserError(f"--reference: the margin of {loss.method} reads none; leave it out")
        drafts = how.way == "revise" or how.by_margin
        return {
            "benchmark": self.benchmark,
            "model": self.name,
            "source": resolved(policy.source),
            "weights": weights_fingerprint(policy.source, policy.architecture),
            "template": policy.template.fingerprint,
            "template_date": None if policy.template.date is None else policy.template.date.isoformat(),
            "ends": sorted(policy.ends),
            "protocol": how.protocol,
            "sampling": {**asdict(how.sampling), "by_category": dict(how.sampling.by_category)},
            "seed": how.seed,
            "way": how.way,
            "separator": asdict(policy.separator(how.separator)) if drafts else None,
            "draft_cap": policy.draft_cap() if drafts else None,
            "candidates": how.candidates if how.way == "best-of-n" else None,
            "chosen_by": how.choose if how.way == "best-of-n" else None,
            "margin": None if loss is None else [loss.method, loss.conditioning.value, dict(loss.hyperparameters)],
            "reference": resolved(self._reference()[0]) if loss is not None and loss.reads.needs_reference else None,
            "reward_model": resolved(how.reward_model) if how.reward_model else None,
            "judge": list(how.judge) if how.judge else None,
            "backend": "vllm" if how.vllm else "transformers",
            "dtype": str(how.dtype).removeprefix("torch."),
            "device": "cuda" if how.gpu else "cpu",
            "questions": len(self.questions),
        }

    def answers(self, kept: ProgressFile, choose: TogetherChooser | None = None) -> list[Answer]:
        """All of them, in the order of the questions.

        Args:
            kept: what is there already, which gets what comes.
            choose: the judge, where one chooses.

        Raises:
            UserError: a model that cannot be loaded, a question that it has no room for, or a full disk.
        """
        how, policy = self.how, self.policy
        first = {question.name: policy.prompt([_user(question.turns[0])]) for question in self.questions}
        model: Any = None
        backend: Backend
        if how.vllm:
            dtype = str(how.dtype).removeprefix("torch.")
            backend = VllmBackend(policy.source, policy.ends, revision=policy.commit, dtype=dtype, seed=how.seed)
            context = backend.context
        else:
            model = policy.model(gpu=how.gpu, dtype=how.dtype)
            context = context_of(model)
            slots = how.slots or SLOTS["cuda" if how.gpu else "cpu"]
            backend = TransformersBackend(model, policy.ends, slots=slots)
        for name, prompt in first.items():
            if context is not None and len(prompt) >= context:
                raise UserError(
                    f"question {name}: its {len(prompt)} tokens leave no room in the model's context of {context}; "
                    "take a model with a longer one"
                )
        way = self._way(model, kept, context)
        talks = {question.name: self._conversation(question, way, context) for question in self.questions}
        done = {}
        with progress(len(talks), "generate", "answer") as bar:
            speed = _Speed(kept, bar)
            try:
                for question, answer in drive(backend, talks, known=kept.known, note=speed.note, choose=choose):
                    done[question] = answer
                    bar.update()
            except torch.cuda.OutOfMemoryError:
                raise UserError("the GPU's memory is full: start again with a smaller --batch") from None
        return [done[question.name] for question in self.questions]

    def _conversation(self, question: Question, way: Way, context: int | None) -> Steps[Answer]:
        """All turns of a question, each after the model's own answers."""
        temperature = self.how.sampling.by_category.get(question.category, self.how.sampling.temperature)
        settings = Settings(temperature, self.how.sampling.top_p, self.how.sampling.max_tokens)
        messages: list[Message] = []
        turns: list[Answered] = []
        for number, said in enumerate(question.turns, 1):
            messages.append(_user(said))
            prompt = self.policy.prompt(messages)
            key = f"{self.how.seed}/{self.benchmark}/{question.name}/turn {number}"
            if context is not None and len(prompt) >= context:
                answered = Answered(Completion((), ended=False))  # no room: counted as cut, and empty
            else:
                answered = yield from way(Asked(key, tuple(messages), prompt, settings))
            turns.append(answered)
            messages.append({"role": "assistant", "content": self.policy.text(answered.completion)})
        return Answer(
            question.name,
            self.name,
            tuple(self.policy.text(turn.completion) for turn in turns),
            tuple(len(turn.completion.tokens) for turn in turns),
            {"turns": [self._extra(turn) for turn in turns]},
        )

    def _extra(self, turn: Answered) -> dict[str, Any]:
        extra: dict[str, Any] = {"ended": turn.completion.ended}
        if turn.draft is not None:
            extra["draft"] = self.policy.text(turn.draft)
            extra["not_revised"] = turn.not_revised
        if turn.candidates:
            extra["candidates"] = [self.policy.text(candidate) for candidate in turn.candidates]
            extra["scores"] = list(turn.scores)
            extra["chosen_by"] = self.how.choose
        return extra

    def _way(self, model: Any, kept: ProgressFile, context: int | None) -> Way:
        how, policy = self.how, self.policy
        if how.way == "plain":
            return plain
        end, separator = policy.template.end_of_turn, policy.separator(how.separator)
        if how.way == "revise":
            return Revise(end, separator, policy.draft_cap(), context)
        if how.choose == "judge":
            return BestOf(how.candidates, None)
        chooser: Chooser
        if how.reward_model is not None:
            chooser = RewardModel(how.reward_model, policy.text, gpu=how.gpu, dtype=how.dtype)
        else:
            loss = self._loss()
            reference = None
            if loss.reads.needs_reference:
                reference = load_model(*self._reference(), gpu=how.gpu, dtype=how.dtype)
            chooser = Margins(model, loss, end, separator, policy.draft_cap(), reference)
        return BestOf(how.candidates, kept.remembered(chooser))

    def _loss(self) -> PreferenceLoss:
        """The run's own loss, or the one that is named."""
        trained, method = self.policy.trained, self.how.method
        if trained is not None and method in (None, trained.method):
            return trained.preference_loss()
        try:
            return PreferenceLoss(method or "simpo", Conditioning.SYMMETRIC)
        except ValueError as error:
            raise UserError(f"--method: {error}") from None

    def _reference(self) -> tuple[str, str | None]:
        if self.how.reference:
            return self.how.reference, None
        if self.policy.reference is None:
            raise UserError(
                f"the margin of {self._loss().method} needs a reference: name it with --reference, or a method "
                "without one, such as --method simpo"
            )
        return self.policy.reference


class _Speed:
    """Notes completions, and shows tokens per second of this start."""

    def __init__(self, kept: ProgressFile, bar: Any) -> None:
        self._kept, self._bar = kept, bar
        self._begin, self._tokens = time.monotonic(), 0

    def note(self, request: Request, completion: Completion) -> None:
        self._kept.note(request, completion)
        self._tokens += len(completion.tokens)
        seconds = max(time.monotonic() - self._begin, 1e-9)
        self._bar.set_postfix_str(
            f"{len(self._kept)} completions, {self._tokens / seconds:.0f} tokens/s", refresh=False
        )


def resolved(source: str) -> str:
    """A folder by its path from the root, so that it is one folder however it is named; a hub's name as it is."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def _user(said: str) -> Message:
    return {"role": "user", "content": said}
