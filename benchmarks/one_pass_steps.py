"""The steps that are compared: each is forward and backward over the same pairs with the same weights.

All run on one model object, whose attention is switched between them, and leave the gradient of the
mean loss over the pairs in its weights. Reference log-probs are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from inspo.conditioning import Conditioning, LogpRequest
from inspo.hf import enable_tree_rows, request_logps
from inspo.hf.tree_attention import TREE_ATTENTION
from inspo.metrics import pair_metrics
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import PackedRow, build_row, pack
from inspo.sequences import response, scored_sequence
from scaled.model.random_weights import shipped_architecture

HYPERPARAMETERS = {"beta": 0.1}
Reference = dict[LogpRequest, Tensor]
"""For each plain request (N,) reference log-probs of the pairs, nats."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        family: transformers' model type, or one of the architectures that `scaled/configs` ships, whose other
            numbers (windows, soft caps, rotary base) are kept.
        head: dimension of a head; None for hidden / heads.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False
    family: str = "llama"
    head: int | None = None


SHAPES = {
    "small": Shape(256, 688, 4, 4, 4, 8192),
    "medium": Shape(512, 1376, 8, 8, 8, 8192),
    "1b": Shape(2048, 8192, 16, 32, 8, 128_256, tied=True),
    "8b": Shape(4096, 14_336, 32, 32, 8, 128_256),
    "mistral-7b": Shape(4096, 14_336, 32, 32, 8, 32_000, family="mistral-7b-instruct-v0.2"),
    "llama-3-8b": Shape(4096, 14_336, 32, 32, 8, 128_256, family="llama-3-8b-instruct"),
    "gemma-2-9b": Shape(3584, 14_336, 42, 16, 8, 256_000, tied=True, family="gemma-2-9b-it", head=256),
    "mistral-7b-small": Shape(256, 896, 4, 4, 1, 8192, family="mistral-7b-instruct-v0.2"),
    "llama-3-8b-small": Shape(256, 896, 4, 4, 1, 8192, family="llama-3-8b-instruct"),
    "gemma-2-9b-small": Shape(256, 1024, 4, 4, 2, 8192, tied=True, family="gemma-2-9b-it"),
}
"""The CPU's models, with Llama's own ratio of sizes; the shapes of Llama-3.2-1B and Llama-3-8B; and the
paper's three models, at full size and small, with their own ratios of sizes and of heads."""


def build_model(shape: Shape, *, device: str, dtype: torch.dtype, seed: int) -> PreTrainedModel:
    """A model with random weights, on tree attention; a step that wants another one switches it."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head or shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": shape.tied,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 3,
    }
    config = LlamaConfig(**sizes) if shape.family == "llama" else shipped_architecture(shape.family, **sizes)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    finally:
        torch.set_default_dtype(previous)
    enable_tree_rows(model)
    return cast("PreTrainedModel", model)


@dataclass(frozen=True)
class Step:
    """Something to measure.

    Attributes:
        run: forward and backward over all pairs; returns the mean loss, nats.
        tokens: rows of tokens that it runs through the model, padding included.
        scored: target tokens that its loss reads, of all pairs.
    """

    run: Callable[[], float]
    tokens: int
    scored: int


@torch.no_grad()
def reference_logps(model: PreTrainedModel, pairs: Sequence[PreferencePair]) -> Reference:
    """Plain log-probs of all pairs under the model as it is."""
    model.set_attn_implementation(TREE_ATTENTION)
    parts = [request_logps(model, build_row([pair], Conditioning.NONE)) for pair in pairs]
    return {request: torch.cat([part[request] for part in parts]) for request in parts[0]}


def packed(pairs: Sequence[PreferencePair], conditioning: Conditioning, token_budget: int) -> list[PackedRow]:
    """Trees of the pairs, packed up to a budget; with 0 one a row."""
    trees = [build_row([pair], conditioning) for pair in pairs]
    return pack(trees, max(token_budget, *map(len, trees))) if token_budget else trees


def one_pass(
    model: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    conditioning: Conditioning,
    reference: Reference,
    *,
    token_budget: int,
    attention: str = "auto",
) -> Step:
    """DPO's loss under a conditioning, over prefix trees."""
    loss = PreferenceLoss("dpo", conditioning, HYPERPARAMETERS)
    rows = packed(pairs, conditioning, token_budget)
    index_of = {pair.record: index for index, pair in enumerate(pairs)}
    cached = [_of_row(reference, [index_of[record] for record in row.records]) for row in rows]

    def run() -> float:
        model.set_attn_implementation(TREE_ATTENTION)
        total = torch.zeros((), device=model.device)
        for row, row_reference in zip(rows, cached, strict=True):
            terms = loss.terms(request_logps(model, row, attention=attention), row_reference)
            losses = loss.of_terms(terms)
            (losses.sum() / len(pairs)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += losses.detach().sum()
            pair_metrics(terms, loss.reads.score, losses)
        return float(total / len(pairs))

    return Step(run, sum(map(len, rows)), sum(len(target.labels) for row in rows for target in row.targets))


def _of_row(reference: Reference, indices: list[int]) -> Reference:
    return {request: values[indices] for request, values in reference.items()}


def two_padded_rows(
    model: PreTrainedModel, pairs: Sequence[PreferencePair], reference: Reference, *, micro_batch: int
) -> Step:
    """INS-DPO as the authors' release lays it out: x y_l y_w and x y_w y_l as padded rows.

    Stock attention under a padding mask, logits at every position, log-softmax over all of them.
    """
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, HYPERPARAMETERS)
    requests = loss.requests()
    batches = []
    for start in range(0, len(pairs), micro_batch):
        members = pairs[start : start + micro_batch]
        rows = [(request, pair) for request in requests for pair in members]
        sequences = [torch.tensor(scored_sequence(pair, request)) for request, pair in rows]
        tokens = pad_sequence(sequences, batch_first=True)
        place = torch.arange(tokens.shape[1])
        ends = torch.tensor([len(sequence) for sequence in sequences])[:, None]
        targets = torch.tensor([len(response(pair, request.target)) for request, pair in rows])[:, None]
        attended, scored = (place < ends).long(), (place < ends) & (place >= ends - targets)
        batch_reference = _of_row(reference, list(range(start, start + len(members))))
        batches.append((tokens.to(model.device), attended.to(model.device), scored.to(model.device), batch_reference))

    def run() -> float:
        model.set_attn_implementation("sdpa")
        total = torch.zeros((), device=model.device)
        for tokens, attended, scored, batch_reference in batches:
            logits = model(input_ids=tokens, attention_mask=attended, use_cache=False).logits[:, :-1]
            logps = torch.log_softmax(logits.float(), -1).gather(-1, tokens[:, 1:, None])[..., 0]
            sums = (logps * scored[:, 1:]).sum(-1)
            by_role = dict(zip(requests, sums.chunk(2), strict=True))
            losses = loss(by_role, batch_reference)
            (losses.sum() / len(pairs)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += losses.detach().sum()
        return float(total / len(pairs))

    return Step(run, sum(batch[0].numel() for batch in batches), sum(int(batch[2].sum()) for batch in batches))


def causal(model: PreTrainedModel, lengths: Sequence[int], *, seed: int) -> Step:
    """Plain language modeling of rows of the given lengths: transformers' own forward, loss and backward."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = model.config.vocab_size
    rows = [torch.randint(0, vocabulary, (1, length), generator=generator).to(model.device) for length in lengths]

    def run() -> float:
        model.set_attn_implementation("sdpa")
        total = torch.zeros((), device=model.device)
        for row in rows:
            loss = model(input_ids=row, labels=row, use_cache=False).loss
            (loss / len(rows)).backward()
            total += loss.detach()
        return float(total / len(rows))

    return Step(run, sum(lengths), sum(lengths) - len(lengths))


def plain_trl(
    trainer: Any,
    pairs: Sequence[PreferencePair],
    *,
    micro_batch: int,
    by_length: bool,
    checkpointing: bool,
) -> Step:
    """TRL's plain DPO step: its collator, its model, loss, metrics and backward, ``training_step`` as it is.

    Args:
        trainer: made by :func:`one_pass_trl.make_trainer` of the same pairs.
        pairs: in the order in which they are batched.
        micro_batch: pairs of a forward pass; gradients of several are accumulated.
        by_length: batch pairs of like length, as ``train_sampling_strategy="group_by_length"`` does.
        checkpointing: recompute activations, which is TRL's default.
    """
    longest = [len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda index: longest[index]) if by_length else list(range(len(pairs)))
    examples = trainer.train_dataset.to_list()
    batches = [
        trainer.data_collator([examples[index] for index in order[start : start + micro_batch]])
        for start in range(0, len(order), micro_batch)
    ]
    sizes = [len(batch["input_ids"]) // 2 for batch in batches]

    def run() -> float:
        trainer.model.set_attn_implementation("sdpa")
        if checkpointing:
            trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
        try:
            trainer.current_gradient_accumulation_steps = len(batches)
            losses = [trainer.training_step(trainer.model, dict(batch)) for batch in batches]
        finally:
            trainer.model.gradient_checkpointing_disable()
        # training_step divides by the number of micro-batches, all of which count alike.
        return sum(float(loss) * size for loss, size in zip(losses, sizes, strict=True)) * len(batches) / len(pairs)

    tokens = sum(batch["input_ids"].numel() for batch in batches)
    return Step(run, tokens, sum(int(batch["completion_mask"].sum()) for batch in batches))
