"""Log-probs of packed tree rows under transformers models.

A row's way through a model: decoder with trees -> hidden states (T, D) -> the rows that predict
a target -> output projection, a chunk of rows at a time -> token log-probs.

**Wrapped models.** DDP, DeepSpeed and FSDP do their work when *their* forward is called, and ZeRO-3
gathers a module's weights only while that module's forward runs. So nothing here reads a weight
outside the forward of the module that owns it: :func:`row_logps` calls the decoder as a module, and
the output layer as a module whose forward is, for that call, the chunked projection, which gives its
hooks one gather forward and one backward. What remains is to enter through the wrapper: after
:func:`enable_tree_rows`, ``wrapped(row=row)`` is :func:`row_logps` inside the wrapped forward.
Tried under DeepSpeed ZeRO-2 and ZeRO-3, two ranks on CPU, tied and untied embeddings, with and
without gradient checkpointing of both kinds: equal log-probs, gradients to 4e-7.

**Gradient checkpointing** recomputes layers during the backward pass, after :func:`row_logps` has
returned. A model therefore stays on tree attention once :func:`enable_tree_rows` has put it there;
switching it for the duration of a forward pass would recompute under another attention.

Shapes: T rows of a packed row, D hidden size, V vocabulary, n target tokens, S targets of a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inspo.conditioning import Conditioning, LogpRequest
from inspo.hf.architectures import check_depth, check_supported
from inspo.hf.tree_attention import TREE_ATTENTION
from inspo.hf.trees import TreeAttention
from inspo.logprobs import by_request, sequence_logps, token_logps
from inspo.pairs import PreferencePair
from inspo.prefix_tree import Integers, PackedRow, build_row, concatenate


def enable_tree_rows(model: nn.Module) -> None:
    """Put a model on tree attention and let ``model(row=row)`` return token log-probs, also through wrappers.

    From then on ``model(row=row, ...)`` means :func:`row_logps`; any other call is the model's own forward, and
    attends as under ``sdpa``: ``generate`` works.

    Args:
        model: a transformers causal language model, or PEFT around one, before DDP, DeepSpeed,
            accelerate or FSDP wrap it.

    Raises:
        ValueError: an architecture that tree rows would be wrong for.
    """
    policy = causal_lm(model)
    check_supported(policy)
    policy.set_attn_implementation(TREE_ATTENTION)
    stock = model.forward

    @functools.wraps(stock)
    def forward(*args: Any, row: PackedRow | None = None, **kwargs: Any) -> Any:
        return stock(*args, **kwargs) if row is None else row_logps(model, row, *args, **kwargs)

    model.forward = forward


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The transformers model, out of PEFT where it is in it. Adapters stay: they are inside its layers.

    Raises:
        ValueError: another wrapper, whose forward must not be bypassed, or PEFT that adds virtual tokens.
    """
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(
            "PEFT's prompt learning adds virtual tokens that trees do not have; use an adapter such as LoRA"
        )
    policy = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]  # PEFT's method
    if not isinstance(policy, PreTrainedModel):
        raise ValueError(
            f"expected a transformers model, got {type(policy).__name__}; call a wrapped model as model(row=row) "
            "after enable_tree_rows"
        )
    return policy


class OutputProjection(NamedTuple):
    """What turns final hidden states into logits: ``softcap tanh(u / softcap)``, ``u = logit_scale (W h + b)``.

    Attributes:
        weight: (V, D); under ZeRO-3 without data outside its module's forward.
        bias: (V,) or None.
        logit_scale: Cohere's `logit_scale`; 1 / `logits_scaling` for Granite; else 1.
        softcap: Gemma-2's `final_logit_softcapping`, or None.
    """

    weight: Tensor
    bias: Tensor | None
    logit_scale: float
    softcap: float | None


def output_projection(model: nn.Module) -> OutputProjection:
    """The output layer of a model, with what its forward does to the logits afterwards.

    Raises:
        ValueError: an output layer that is more than a matrix (an adapter on it, quantized).
    """
    policy = causal_lm(model)
    head = _output_layer(policy)
    if type(head) is not nn.Linear:
        raise ValueError(
            f"the output layer is a {type(head).__name__}, must be a plain Linear: "
            "leave it out of the adapter's targets, and unquantized"
        )
    config = policy.config.get_text_config(decoder=True)
    scale = getattr(config, "logit_scale", None)
    if scaling := getattr(config, "logits_scaling", None):
        scale = scaling if config.model_type == "hyperclovax" else 1 / scaling
    return OutputProjection(
        head.weight, head.bias, 1.0 if scale is None else scale, getattr(config, "final_logit_softcapping", None)
    )


def _output_layer(policy: PreTrainedModel) -> nn.Module:
    return cast("nn.Module", policy.get_output_embeddings())  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def hidden_states(model: nn.Module, row: PackedRow, *, attention: str = "auto") -> Tensor:
    """Final hidden states of a packed row, after the last norm and before the output layer.

    Args:
        model: a model on tree attention.
        row: the trees.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.

    Returns:
        (T, D).

    Raises:
        ValueError: a model that is not on tree attention, layers that did not attend over the trees,
            or sequences too deep for the model's positions.
    """
    policy = causal_lm(model)
    tree = prepare_trees(policy, row, policy.device, attention)
    decoder = policy.get_decoder()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    output = decoder(input_ids=row_tokens(row, policy.device), **tree.arguments())
    check_layers(policy, tree)
    return cast("Tensor", output.last_hidden_state[0])


def row_tokens(row: PackedRow, device: torch.device) -> Tensor:
    """(1, T) int64 token ids of a packed row."""
    return torch.as_tensor(row.tokens, device=device).long()[None]


def prepare_trees(
    policy: PreTrainedModel, row: PackedRow, device: torch.device, attention: str = "auto"
) -> TreeAttention:
    """The trees of a row, for a model that is on tree attention and whose positions reach deep enough.

    Raises:
        ValueError: a model that is not, or sequences too deep for its positions.
    """
    if policy.config._attn_implementation != TREE_ATTENTION:  # noqa: SLF001  # transformers' only place for it
        raise ValueError(
            f"the model is on {policy.config._attn_implementation} attention: call enable_tree_rows(model) once"  # noqa: SLF001
        )
    check_depth(policy.config, int(row.positions.max()) + 1)
    return TreeAttention.of(row, device, attention)


def check_layers(policy: PreTrainedModel, tree: TreeAttention) -> None:
    """Raise where, after a forward pass, not every layer has attended over the trees."""
    layers = policy.config.get_text_config(decoder=True).num_hidden_layers
    if len(tree.layers) != layers:
        raise ValueError(
            f"{len(tree.layers)} of the {layers} layers of {type(policy).__name__} attended over the trees: "
            "the others mix tokens in another way, or not through transformers' attention interface"
        )


def row_logps(
    model: nn.Module,
    row: PackedRow,
    *,
    attention: str = "auto",
    chunk_size: int | None = None,
    no_grad_requests: Collection[LogpRequest] = (),
) -> Tensor:
    """Token log-probs of all targets of a packed row.

    Args:
        model: a model on tree attention; a wrapped one is called as ``wrapped(row=row)``.
        row: the trees.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.
        chunk_size: rows projected on the vocabulary at a time, see :func:`inspo.logprobs.token_logps`.
        no_grad_requests: requests whose targets are scored for information only, which spares them the
            backward pass of the projection.

    Returns:
        (n,) nats, target after target in the order of ``row.targets``, ready for
        :func:`inspo.logprobs.sequence_logps` with ``[len(target.labels) for target in row.targets]``.

    Raises:
        ValueError: as :func:`hidden_states` and :func:`output_projection`.
    """
    hidden = hidden_states(model, row, attention=attention)
    tokens = _ScoredTokens.of(row, no_grad_requests)
    weight, bias, logit_scale, softcap = output_projection(model)

    def logps(selected: Tensor, labels: Tensor) -> Tensor:
        return token_logps(
            selected, weight, labels, bias=bias, logit_scale=logit_scale, softcap=softcap, chunk_size=chunk_size
        )

    def project(selected: Tensor) -> Tensor:
        labels = torch.as_tensor(tokens.labels, device=selected.device).long()
        parts = []
        for part, learns in ((slice(tokens.with_grad), True), (slice(tokens.with_grad, None), False)):
            if len(labels[part]):
                with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                    parts.append(logps(selected[part], labels[part]))
        return torch.cat(parts)

    head = _output_layer(causal_lm(model))
    with _forward_replaced(head, project):
        found = head(hidden[torch.as_tensor(tokens.rows, device=hidden.device).long()])
    return cast("Tensor", found[torch.as_tensor(tokens.places, device=hidden.device)])


class _ScoredTokens(NamedTuple):
    """The tokens of a row's targets, each once: a response to a prompt may be a target of several pairs.

    Attributes:
        rows: (m,) of the hidden states that predict them.
        labels: (m,) token ids.
        with_grad: how many of the m, the first ones, are scored for more than information.
        places: (n,) for each token of each target, target after target, which of the m it is.
    """

    rows: Integers
    labels: Integers
    with_grad: int
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, row: PackedRow, no_grad_requests: Collection[LogpRequest]) -> _ScoredTokens:
        rows, labels = (np.concatenate([getattr(each, name) for each in row.targets]) for name in ("rows", "labels"))
        no_grad = np.repeat(
            [target.request in no_grad_requests for target in row.targets],
            [len(target.labels) for target in row.targets],
        )
        keys = (no_grad * len(row) + rows).astype(np.int64) << 32 | labels
        _, first, places = np.unique(keys, return_index=True, return_inverse=True)
        order = np.lexsort((first, no_grad[first]))  # with a gradient first, each kind in the targets' order
        kept = first[order]
        return cls(rows[kept], labels[kept], int((~no_grad[kept]).sum()), np.argsort(order)[places])


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Let a call of `module`, with all its hooks, run `forward`."""
    if "forward" in vars(module):
        raise ValueError(f"the forward of the output layer {type(module).__name__} is already replaced, by offloading?")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def request_logps(model: nn.Module, row: PackedRow, **options: Any) -> dict[LogpRequest, Tensor]:
    """Log-probs of a packed row's responses, by request: what a preference loss reads.

    Args:
        model: a model after :func:`enable_tree_rows`, or a wrapper around one.
        row: the trees of B pairs.
        options: further arguments of :func:`row_logps`.

    Returns:
        For each request (B,) nats, summed over the response's tokens.
    """
    tokens = model(row=row, **options)
    sums = sequence_logps(tokens, [len(target.labels) for target in row.targets]).sums
    return by_request(row.targets, sums)


@torch.no_grad()
def verify_tree_attention(model: nn.Module, *, attention: str = "auto", tolerance: float | None = None) -> float:
    """Compare two small trees in one row with their separate sequences through the model's own forward.

    Cheap enough to run at every start, and the way to check an architecture that
    :data:`inspo.hf.architectures.VERIFIED` does not list, a new attention or a new device. A window matters only
    where it is shorter than the 40 tokens of these sequences.

    Args:
        model: a model on tree attention.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.
        tolerance: largest difference of a token's log-prob, in nats; None for 1e-3 in float32 and
            float64, 0.25 in half precision.

    Returns:
        The largest difference, in nats.

    Raises:
        ValueError: a difference above the tolerance.
    """
    policy = causal_lm(model)
    was_training = policy.training
    policy.train(mode=False)
    try:
        row = _probe(policy.config.get_text_config(decoder=True).vocab_size)
        ours = row_logps(model, row, attention=attention)
        policy.set_attn_implementation("eager")
        theirs = torch.cat([_separate_logps(policy, row, index) for index in range(len(row.targets))])
    finally:
        policy.set_attn_implementation(TREE_ATTENTION)
        policy.train(was_training)
    if tolerance is None:
        tolerance = 1e-3 if torch.finfo(policy.dtype).bits >= 32 else 0.25
    difference = float((ours - theirs).abs().max())
    if not difference <= tolerance:  # NaN disagrees
        raise ValueError(
            f"{policy.config.model_type}: log-probs of a packed tree and of its separate sequences differ by "
            f"{difference:.2g} nats (tolerance {tolerance:.2g}); this architecture is not supported"
        )
    return difference


def _probe(vocabulary: int) -> PackedRow:
    """Two trees in one row: responses with a common start in the first, other lengths in the second."""
    tokens = np.random.default_rng(0).integers(0, vocabulary, 80).tolist()
    first = PreferencePair(tokens[:6], tokens[6:22], [*tokens[6:9], *tokens[22:35]])
    second = PreferencePair(tokens[35:44], tokens[44:62], tokens[62:73])
    return concatenate([build_row([pair], Conditioning.AVERAGED) for pair in (first, second)])


def _separate_logps(policy: PreTrainedModel, row: PackedRow, index: int) -> Tensor:
    """(n,) the model's own log-probs of one target of a row, from its sequence alone."""
    target = row.targets[index]
    last = int(target.rows[-1])
    ancestors = np.flatnonzero((np.arange(last + 1) <= last) & (row.subtree_ends[: last + 1] > last))
    tokens = torch.as_tensor(row.tokens[ancestors], device=policy.device).long()[None]
    logits = policy(input_ids=tokens, use_cache=False).logits[0, -len(target.labels) :]
    logps = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
    return logps.gather(-1, torch.as_tensor(target.labels, device=logps.device).long()[:, None])[:, 0]
