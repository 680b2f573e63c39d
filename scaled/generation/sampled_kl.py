"""KL(pi || pi_ref) of the deployed policy, from responses that it samples itself.

What the journal's log-ratios say is about the data's responses; this is about the policy's own. One
response is sampled per prompt, so that the mean of log pi(y | x) - log pi_ref(y | x) is an unbiased
estimate. Responses that `max_tokens` cuts off count up to there: the estimate is of the KL over that many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from inspo.conditioning import LogpRequest, Role
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from scaled.distributed import gathered, rank, world_size
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Request, Settings

_OWN = LogpRequest(Role.CHOSEN)


@dataclass(frozen=True, eq=False)
class SampledKl:
    """What to sample, and what to compare it with.

    Attributes:
        prompts: N prompts in tokens.
        max_tokens: of a response.
        end: id of the token that ends a response.
        seed: with the update and the prompt's number, of each response.
        reference: the initial policy, scoring tree rows; None for the policy with its adapter switched off.
        autocast: makes what generation and the reference's forward run under.
        attention: how to attend when scoring, see :mod:`inspo.hf.tree_attention`.
    """

    prompts: Sequence[Sequence[int]]
    max_tokens: int
    end: int
    seed: int
    reference: nn.Module | None = None
    autocast: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    attention: str = "auto"

    def estimate(self, model: nn.Module, update: int) -> dict[str, float]:
        """Estimate over the prompts, which ranks share. All ranks must call.

        Args:
            model: the policy with all its weights here, scoring tree rows, in evaluation mode and not wrapped.
            update: during which update.

        Returns:
            ``sample_kl``, mean in nats per response; ``sample_kl_error``, its standard error (NaN of one
            prompt); ``sample_length``, mean tokens. The same on all ranks, and for any number of them.
        """
        mine = range(rank(), len(self.prompts), world_size())
        found = [self._log_ratio(model, index, update) for index in mine]
        numbers = torch.tensor([each for part in gathered(found) for each in part], dtype=torch.float64)
        numbers = numbers[numbers[:, 0].argsort()]  # by prompt, so that the sum is the same for any ranks
        ratios = numbers[:, 1]
        return {
            "sample_kl": float(ratios.mean()),
            "sample_kl_error": float(ratios.std() / len(ratios) ** 0.5),
            "sample_length": float(numbers[:, 2].mean()),
        }

    @torch.no_grad()
    def _log_ratio(self, model: nn.Module, index: int, update: int) -> tuple[int, float, int]:
        """The prompt's number, log(pi / pi_ref) of one sampled response in nats, and its tokens."""
        prompt = self.prompts[index]
        request = Request(f"{self.seed}/{update}/{index}", tuple(prompt), Settings(max_tokens=self.max_tokens))
        with self.autocast():  # alone, so that any number of ranks draws the same in half precision too
            ((_, written),) = TransformersBackend(model, [self.end], slots=1).generate(deque([request]))
        response = list(written.tokens)
        # The second response of a pair is not asked for; it only has to be another one.
        row = build_row([PreferencePair(prompt, response, [*response, self.end])], [_OWN])
        policy = request_logps(model, row, attention=self.attention)[_OWN]
        unadapted = nullcontext() if self.reference is not None else cast("Any", model).disable_adapter()
        with unadapted, self.autocast():
            reference = request_logps(self.reference or model, row, attention=self.attention)[_OWN]
        return index, float(policy.double() - reference.double()), len(response)
