"""Hidden states -> token log-probs -> sequence log-probs, without ever keeping all logits.

The vocabulary is projected only at the rows that predict a target token, and a chunk of rows at a
time, forward and backward: a float32 tensor of all positions by vocabulary never exists.

Shapes: n target tokens, H hidden size, V vocabulary, S sequences (scored targets), B pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from inspo.conditioning import LogpRequest
from inspo.prefix_tree import ScoredTarget

# Logits of one chunk in float32 take 64 MiB: on CPU, with vocabularies of 32 000 and 128 256, larger
# chunks are hardly faster, while 8 MiB costs up to a third more time.
CHUNK_ELEMENTS = 2**24


def token_logps(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    """Log-prob of each label at its hidden state: ``log softmax(z)[label]``.

    With ``u = logit_scale (hidden weight^T + bias)``, z is u, or ``softcap tanh(u / softcap)``.

    The projection runs in the dtype of `hidden` and `weight` (under autocast, in autocast's), all that
    follows in float32, or float64 where they are. Where several chunks are needed, the backward pass
    projects again instead of keeping logits, and sums the gradient of `weight` in float32. `weight` must have
    its data then too: under ZeRO-3, call this inside the forward of the module that owns it.

    Args:
        hidden: (n, H) hidden states after the model's final norm, at the rows that predict the labels.
        weight: (V, H) output embedding.
        labels: (n,) int64 token ids.
        bias: (V,) or None.
        logit_scale: Cohere's ``logit_scale``; for Granite, 1 / ``logits_scaling``.
        softcap: Gemma-2's ``final_logit_softcapping``, > 0, or None.
        chunk_size: rows projected at a time; None takes as many as make 64 MiB of float32 logits;
            with n or more nothing is computed twice.

    Returns:
        (n,) nats, float32, or float64 where `hidden` is. First derivatives by `hidden`, `weight`, `bias`.

    Raises:
        ValueError: shapes that do not match, or an option out of range.

    Source: Eq. (12), the summand. Uniform logits give - log V:

    >>> token_logps(torch.zeros(1, 3), torch.ones(4, 3), torch.tensor([2])).exp()
    tensor([0.2500])
    """
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1] or labels.shape != hidden.shape[:1]:
        raise ValueError(
            "hidden, weight and labels must be (n, H), (V, H) and (n,), got "
            f"{tuple(hidden.shape)}, {tuple(weight.shape)} and {tuple(labels.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be (V,) = ({len(weight)},), got {tuple(bias.shape)}")
    if softcap is not None and softcap <= 0:
        raise ValueError(f"softcap = {softcap} must be > 0")
    if chunk_size is None:
        chunk_size = max(1, CHUNK_ELEMENTS // len(weight))
    if chunk_size < 1:
        raise ValueError(f"chunk_size = {chunk_size} must be >= 1")
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and hidden.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    keep = torch.is_grad_enabled() and len(hidden) <= chunk_size
    with torch.autocast(device, enabled=False):
        arguments = (hidden, weight, bias, labels, logit_scale, softcap, chunk_size, keep)
        return cast("Tensor", _TokenLogps.apply(*arguments))  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _TokenLogps(torch.autograd.Function):
    """:func:`token_logps`, whose gradient by the projection is ``-error`` times the log-prob's own.

    The (chunk, V) error, softmax minus one-hot, is kept where one chunk is all there is (`keep`);
    otherwise the backward pass projects each chunk again. What comes from above is one number a row,
    so it scales (chunk, H) operands of the two products and never a (chunk, V) one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        logit_scale: float,
        softcap: float | None,
        chunk_size: int,
        keep: bool,  # noqa: FBT001  # autograd functions take positional arguments only
    ) -> Tensor:
        logps: list[Tensor] = []
        error: Tensor | None = None
        for rows, label in zip(torch.split(hidden, chunk_size), torch.split(labels, chunk_size), strict=True):
            with_error = keep and any(ctx.needs_input_grad)
            logps_of_chunk, error = _logps_and_error(rows, weight, bias, label, logit_scale, softcap, with_error)
            logps.append(logps_of_chunk)
        ctx.save_for_backward(hidden, weight, bias, labels, error)
        ctx.options = logit_scale, softcap, chunk_size
        ctx.weight_shape = weight.shape
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logps: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, kept = ctx.saved_tensors
        logit_scale, softcap, chunk_size = ctx.options
        if weight.shape != ctx.weight_shape:
            raise RuntimeError(
                f"the output embedding was {tuple(ctx.weight_shape)} forward and is {tuple(weight.shape)} backward: "
                "under ZeRO-3, call token_logps inside the forward of the module that owns it"
            )
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=grad_logps.dtype) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=grad_logps.dtype) if needs_bias else None
        factor = (-logit_scale * grad_logps)[:, None]
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), chunk_size):
                chunk = slice(start, start + chunk_size)
                rows, scale = hidden[chunk], factor[chunk]
                error = kept
                if error is None:
                    _, error = _logps_and_error(rows, weight, bias, labels[chunk], logit_scale, softcap, True)
                if grad_bias is not None:
                    grad_bias += torch.mv(error.T.to(scale.dtype), scale[:, 0])
                if grad_hidden is not None:
                    torch.mul(torch.mm(error, weight), scale, out=grad_hidden[chunk])
                if grad_weight is not None:
                    _add_product(grad_weight, error.T, (rows * scale).to(hidden.dtype))
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None,) * 5,
        )


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, logit_scale: float, softcap: float | None) -> Tensor:
    """(chunk, V) logits z: projected in the dtype of `weight`, then float32 or float64."""
    logits = torch.mm(hidden, weight.T)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if bias is not None:
        logits = logits + bias
    if logit_scale != 1:
        logits = logits * logit_scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _logps_and_error(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    logit_scale: float,
    softcap: float | None,
    with_error: bool,  # noqa: FBT001  # eight others precede it
) -> tuple[Tensor, Tensor | None]:
    """(chunk,) log-probs; and (chunk, V) softmax minus one-hot, times the soft cap's slope, in the dtype of `hidden`.

    All in the memory of the logits, where nothing else needs them and the device's kernel is known to go by rows.
    """
    logits = _logits(hidden, weight, bias, logit_scale, softcap)
    if softcap is None and logits.device.type == "cpu":
        all_logps = torch.ops.aten._log_softmax.out(logits, -1, False, out=logits)  # noqa: SLF001  # the public one has no out
    else:
        all_logps = logits.log_softmax(-1)
    logps = all_logps.gather(-1, labels[:, None])[:, 0]
    if not with_error:
        return logps, None
    error = all_logps.exp_()
    error.scatter_add_(-1, labels[:, None], error.new_full((len(labels), 1), -1.0))
    if softcap is not None:
        error *= 1 - (logits / softcap).square()
    return logps, error.to(hidden.dtype)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` to `total`, which may be of higher precision."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right)


class SequenceLogps(NamedTuple):
    """Log-probs of whole sequences.

    Attributes:
        sums: (S,) nats, summed over the counted tokens.
        lengths: (S,) int64, counted tokens.
    """

    sums: Tensor
    lengths: Tensor

    @property
    def length_means(self) -> Tensor:
        """(S,) nats per counted token, Eq. (12)-(13)."""
        return self.sums / self.lengths


def sequence_logps(token_logps: Tensor, lengths: Sequence[int], mask: Tensor | None = None) -> SequenceLogps:
    """Sum token log-probs over each sequence. Deterministic on every device.

    Args:
        token_logps: (n,) nats, sequence after sequence.
        lengths: tokens of each of the S sequences; they sum to n.
        mask: (n,) bool, m_t of Eq. (13): false where a token counts neither in the sum nor in the
            length, whatever its log-prob. None counts all.

    Raises:
        ValueError: shapes that do not match, or a sequence without a counted token (its mean would be
            NaN).

    >>> sequence_logps(torch.tensor([-1.0, -3.0, -5.0]), [2, 1]).length_means
    tensor([-2., -5.])
    """
    if token_logps.shape != (sum(lengths),) or (mask is not None and mask.shape != token_logps.shape):
        raise ValueError(
            f"lengths sum to {sum(lengths)} tokens, but token_logps has shape {tuple(token_logps.shape)}"
            + ("" if mask is None else f" and mask {tuple(mask.shape)}")
        )
    ends = torch.tensor(lengths, dtype=torch.int64, device=token_logps.device)
    counted = ends
    if mask is not None:
        token_logps = torch.where(mask, token_logps, 0.0)
        counted = torch.segment_reduce(mask.to(torch.float64), "sum", lengths=ends).to(torch.int64)
    if bool((counted == 0).any()):
        raise ValueError(f"sequence {int((counted == 0).nonzero()[0])} has no token that counts")
    return SequenceLogps(torch.segment_reduce(token_logps, "sum", lengths=ends), counted)


def without_final_eos(labels: Tensor, lengths: Sequence[int], eos_ids: Sequence[int]) -> Tensor:
    """Mask for :func:`sequence_logps` that leaves out an end-of-turn token at a sequence's end.

    Args:
        labels: (n,) int64 token ids, sequence after sequence.
        lengths: tokens of each of the S sequences, each at least one.
        eos_ids: the token ids that end a turn.

    Returns:
        (n,) bool, false at the sequences' last tokens that are in `eos_ids`.

    Source: Appendix C.1, for responses that truncation has left with and without an end.

    >>> without_final_eos(torch.tensor([5, 2, 2, 7]), [3, 1], eos_ids=[2])
    tensor([ True,  True, False,  True])
    """
    last = torch.tensor(lengths, device=labels.device).cumsum(0) - 1
    mask = torch.ones_like(labels, dtype=torch.bool)
    mask[last] = ~torch.isin(labels[last], torch.tensor(eos_ids, device=labels.device))
    return mask


def by_request(targets: Sequence[ScoredTarget], values: Tensor) -> dict[LogpRequest, Tensor]:
    """Sort one value per target into one tensor per request, as a conditioning takes them.

    Args:
        targets: the S targets of a packed row, every pair with the same requests.
        values: (S,) one value for each, such as ``SequenceLogps.sums``.

    Returns:
        For each request (B,) values, in the order of the pairs.

    Raises:
        ValueError: as many values as targets are needed.
    """
    if values.shape != (len(targets),):
        raise ValueError(f"{len(targets)} targets need as many values, got shape {tuple(values.shape)}")
    indices: dict[LogpRequest, list[int]] = {}
    for index, target in enumerate(targets):
        indices.setdefault(target.request, []).append(index)
    return {request: values[index] for request, index in indices.items()}
