"""Categorical policies over K responses, thousands of problems in one batched tensor.

Both parametrisations start at the reference policy and answer two questions: what is the log-prob
of each response given a comparator y', and what is it when deployed, with the prompt alone?

Shapes: N problems, K responses. Log-probs in nats.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Policy(Protocol):
    """A batch of N trainable policies."""

    @property
    def parameters(self) -> list[Tensor]:
        """The leaf tensors to optimise; the first dimension of each is N."""
        ...

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x): the deployed policy."""
        ...

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        ...


class FreeTable:
    """One softmax table per comparator and one for the bare prompt, sharing nothing.

    Training on a conditioned objective alone leaves the deployed policy at the reference: nothing
    connects the tables.

    Args:
        ref_logps: (N, K) log pi_ref(y_i | x).
    """

    def __init__(self, ref_logps: Tensor) -> None:
        k = ref_logps.shape[-1]
        self._prompt = ref_logps.clone().requires_grad_()
        self._comparator = ref_logps[..., None].repeat(1, 1, k).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """Prompt table (N, K) and comparator table (N, K, K)."""
        return [self._prompt, self._comparator]

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x)."""
        return self._prompt.log_softmax(-1)

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        return self._comparator.log_softmax(-2)


class Additive:
    """Shared parameters: logit(i | j) = log pi_ref(i) + u_i + M[i, j]; deployed without M.

    The simplest way in which what is learned about pi(. | x, y') can reach pi(. | x): the part of
    it that does not depend on y' is shared through u.

    Args:
        ref_logps: (N, K) log pi_ref(y_i | x).
    """

    def __init__(self, ref_logps: Tensor) -> None:
        k = ref_logps.shape[-1]
        self._ref_logps = ref_logps
        self._response = torch.zeros_like(ref_logps).requires_grad_()
        self._interaction = ref_logps.new_zeros((*ref_logps.shape, k)).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """Response scores u (N, K) and interactions M (N, K, K)."""
        return [self._response, self._interaction]

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x)."""
        return (self._ref_logps + self._response).log_softmax(-1)

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        return ((self._ref_logps + self._response)[..., None] + self._interaction).log_softmax(-2)


PARAMETRISATIONS: dict[str, type[FreeTable | Additive]] = {"free": FreeTable, "additive": Additive}
