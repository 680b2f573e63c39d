"""Scores of candidates by a reward model: a sequence classifier with one number, such as those of RewardBench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from inspo.command_line import UserError, one_line
from scaled.generation.interface import Completion
from scaled.generation.ways import Asked


class RewardModel:
    """A chooser, see :data:`scaled.generation.ways.Chooser`."""

    def __init__(self, source: str, text: Callable[[Completion], str], *, gpu: bool, dtype: torch.dtype) -> None:
        """Load it.

        Args:
            source: folder or hub name.
            text: what a completion says.
            gpu: whether it is on the GPU.
            dtype: of its weights.

        Raises:
            UserError: it cannot be loaded, has more than one number, or no chat template.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            self._model: Any = AutoModelForSequenceClassification.from_pretrained(source, dtype=dtype).eval()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except Exception as error:  # each architecture has other errors
            raise UserError(f"--reward-model {source}: cannot be loaded ({one_line(error)})") from error
        if self._model.config.num_labels != 1:
            raise UserError(f"--reward-model {source}: has {self._model.config.num_labels} numbers, not one")
        if not self._tokenizer.chat_template:
            raise UserError(f"--reward-model {source}: its tokenizer has no chat template")
        self._text = text
        if gpu:
            self._model.cuda()

    @torch.no_grad()
    def __call__(self, asked: Asked, found: Sequence[Completion]) -> list[float]:
        """The reward of each completion, one forward pass each."""
        rewards = []
        for completion in found:
            turns = [*asked.messages, {"role": "assistant", "content": self._text(completion)}]
            given = self._tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
            rewards.append(float(self._model(**given.to(self._model.device)).logits[0, 0]))
        return rewards
