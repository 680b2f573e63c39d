"""Categorical policies over K responses, thousands of problems in one batched tensor.

All start at the reference policy and answer two questions: what is the log-prob of each response
given a comparator y', and what may be deployed, with the prompt alone? They differ in what those
two share, which is all that can carry what was learned from the first to the second.

Shapes: N problems, K responses, C comparators, D numbers that describe a comparator. Log-probs in nats.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor


class Policy:
    """A batch of N trainable policies.

    Attributes:
        parameters: the leaf tensors to optimize; the first dimension of each is N.

    Args:
        ref_logps: (N, K) log pi_ref(y_i | x), where training starts.
    """

    parameters: list[Tensor]

    def __init__(self, ref_logps: Tensor) -> None:
        self._ref_logps = ref_logps

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x): the policy without a comparator, which the paper deploys."""
        raise NotImplementedError

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        raise NotImplementedError

    def deployments(self) -> dict[str, Tensor]:
        """Every way to answer a bare prompt, by name; each (N, K) log-probs.

        ``null``: no comparator; ``marginal``: the mean policy over comparators drawn from the reference;
        where comparators are vectors also ``mean_embedding``: their mean under the reference.
        """
        marginal = (self.comparator_logps() + self._ref_logps[:, None, :]).logsumexp(-1)
        return {"null": self.prompt_logps(), "marginal": marginal}


class FreeTable(Policy):
    """One softmax table per comparator and one for the bare prompt, sharing nothing.

    Training on a conditioned objective alone leaves the prompt's table at the reference: nothing
    connects the tables. A comparator is not described by anything, so there is no mean of one.
    """

    def __init__(self, ref_logps: Tensor) -> None:
        super().__init__(ref_logps)
        k = ref_logps.shape[-1]
        self._prompt = ref_logps.clone().requires_grad_()
        self._comparator = ref_logps[..., None].repeat(1, 1, k).requires_grad_()
        self.parameters = [self._prompt, self._comparator]

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x)."""
        return self._prompt.log_softmax(-1)

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        return self._comparator.log_softmax(-2)


class Embedded(Policy):
    """A policy that sees its comparator as a vector; subclasses say which vectors, and what they do."""

    def embeddings(self) -> Tensor:
        """(N, K, D): what the policy sees of each response when it is the comparator."""
        raise NotImplementedError

    def shift(self, comparators: Tensor | None) -> Tensor:
        """(N, K, C): what is added to log pi_ref for each of (N, C, D) comparators, or for none (C = 1)."""
        raise NotImplementedError

    def prompt_logps(self) -> Tensor:
        """(N, K) log pi(y_i | x)."""
        return self._logps(None)[..., 0]

    def comparator_logps(self) -> Tensor:
        """(N, K, K), entry [n, i, j] = log pi(y_i | x, y_j)."""
        return self._logps(self.embeddings())

    def deployments(self) -> dict[str, Tensor]:
        """All three; see :class:`Policy`."""
        mean = self._ref_logps.exp()[:, None, :] @ self.embeddings()
        others = super().deployments()
        return {"null": others["null"], "mean_embedding": self._logps(mean)[..., 0], "marginal": others["marginal"]}

    def _logps(self, comparators: Tensor | None) -> Tensor:
        return (self._ref_logps[..., None] + self.shift(comparators)).log_softmax(-2)


class Additive(Embedded):
    """logit(i | j) = log pi_ref(i) + u_i + M[i, j]; without a comparator u alone.

    The simplest way in which what is learned about pi(. | x, y') can reach pi(. | x): the part of
    it that does not depend on y' is shared through u.
    """

    def __init__(self, ref_logps: Tensor) -> None:
        super().__init__(ref_logps)
        n, k = ref_logps.shape
        self._names = torch.eye(k, dtype=ref_logps.dtype).expand(n, k, k)
        self._response = torch.zeros_like(ref_logps).requires_grad_()
        self._interaction = ref_logps.new_zeros((n, k, k)).requires_grad_()
        self.parameters = [self._response, self._interaction]

    def embeddings(self) -> Tensor:
        """(N, K, K): each response's own name, one-hot."""
        return self._names

    def shift(self, comparators: Tensor | None) -> Tensor:
        """U + M c; see :class:`Embedded`."""
        u = self._response[..., None]
        return u if comparators is None else u + self._interaction @ comparators.mT


class LowRank(Embedded):
    """logit(i | j) = log pi_ref(i) + u_i + a_i . e_j, e_j two numbers; without a comparator u alone.

    What is learned against one comparator now also moves the others. e starts random, a at zero.
    """

    RANK = 2

    def __init__(self, ref_logps: Tensor) -> None:
        super().__init__(ref_logps)
        n, k = ref_logps.shape
        self._response = torch.zeros_like(ref_logps).requires_grad_()
        self._effect = ref_logps.new_zeros((n, k, self.RANK)).requires_grad_()
        self._embedding = _random((n, k, self.RANK), stream=0).requires_grad_()
        self.parameters = [self._response, self._effect, self._embedding]

    def embeddings(self) -> Tensor:
        """(N, K, 2) e."""
        return self._embedding

    def shift(self, comparators: Tensor | None) -> Tensor:
        """U + a . c; see :class:`Embedded`."""
        u = self._response[..., None]
        return u if comparators is None else u + self._effect @ comparators.mT


class Attention(Embedded):
    """One attention layer over the tokens (y', x) or (x), read out at x, where the answer begins.

    logits = log pi_ref + U (x + attention from x over both tokens). Prompt and response embeddings
    and the projections start random, the read-out U at zero. With and without a comparator the
    answer is read from the same place with the same parameters, as in a language model whose
    template ends alike, so training in view of y' moves the bare prompt's answer too.
    """

    WIDTH = 8

    def __init__(self, ref_logps: Tensor) -> None:
        super().__init__(ref_logps)
        n, k = ref_logps.shape
        d = self.WIDTH
        self._prompt = _random((n, 1, d), stream=1).requires_grad_()
        self._embedding = _random((n, k, d), stream=2).requires_grad_()
        self._query, self._key, self._value = (
            (_random((n, d, d), stream=stream) / d**0.5).requires_grad_() for stream in (3, 4, 5)
        )
        self._readout = ref_logps.new_zeros((n, k, d)).requires_grad_()
        projections = [self._query, self._key, self._value]
        self.parameters = [self._prompt, self._embedding, *projections, self._readout]

    def embeddings(self) -> Tensor:
        """(N, K, 8) token embeddings."""
        return self._embedding

    def shift(self, comparators: Tensor | None) -> Tensor:
        """U h, h the last token after the layer; see :class:`Embedded`."""
        prompt_value = self._prompt @ self._value
        hidden = self._prompt + prompt_value
        if comparators is not None:
            # Over two tokens softmax is a sigmoid of the difference of their scores.
            lean = (comparators - self._prompt) @ (self._key @ (self._prompt @ self._query).mT) / self.WIDTH**0.5
            hidden = hidden + torch.sigmoid(lean) * (comparators @ self._value - prompt_value)
        shift: Tensor = self._readout @ hidden.mT
        return shift


def _random(shape: tuple[int, ...], stream: int) -> Tensor:
    """Standard normal numbers, always the same ones: a policy's start is no source of randomness between runs."""
    return torch.as_tensor(np.random.default_rng([20251223, stream]).standard_normal(shape))


Parametrization = Literal["free", "additive", "low-rank", "attention"]
PARAMETRIZATIONS: dict[Parametrization, type[Policy]] = {
    "free": FreeTable,
    "additive": Additive,
    "low-rank": LowRank,
    "attention": Attention,
}
