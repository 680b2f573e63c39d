"""Where training starts: margins at step 0 under a plain and a conditioned reference (docs/reference.md).

    python benchmarks/initial_margins.py [--steps N] [--pairs N]

Two policies of one shape are pretrained on responses to 6 topics. One has only ever seen a response
right after a prompt; the other also one response after another. Neither is trained on preferences: each
is its own reference, and the margin is where its preference training would start.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext
from inspo.hf.rows import enable_tree_rows, request_logps, row_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import build_row, pack

EOS, TOPICS, WORDS = 1, 6, 24
"""Token 0 begins a text, 1 ends a response; then the topics, then the words."""


def pairs_of(rng: np.random.Generator, count: int) -> list[PreferencePair]:
    """Pairs of responses of 6 to 14 words, three in four of them from the topic's own eight words."""

    def response(topic: int) -> list[int]:
        length = int(rng.integers(6, 15))
        own = (4 * topic + rng.integers(0, 8, length)) % WORDS
        words = np.where(rng.random(length) < 0.75, own, rng.integers(0, WORDS, length))
        return [*(2 + TOPICS + words).tolist(), EOS]

    pairs: list[PreferencePair] = []
    while len(pairs) < count:
        topic = int(rng.integers(TOPICS))
        chosen, rejected = response(topic), response(topic)
        if chosen != rejected:
            pairs.append(PreferencePair([0, 2 + topic], chosen, rejected, len(pairs)))
    return pairs


def pretrained(seen: Conditioning, steps: int, seed: int = 0) -> PreTrainedModel:
    """A policy trained to predict the responses, in the contexts of a conditioning's requests."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=2 + TOPICS + WORDS,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
    )
    model: PreTrainedModel = LlamaForCausalLM(config)
    enable_tree_rows(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        (row,) = pack([build_row([pair], seen) for pair in pairs_of(rng, 8)], 4096)
        optimizer.zero_grad()
        loss = -row_logps(model, row, attention="dense").mean()  # quicker for rows this small
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    return model


@torch.no_grad()
def all_logps(model: PreTrainedModel, pairs: list[PreferencePair]) -> dict[LogpRequest, torch.Tensor]:
    """Plain and cross-conditioned log-probs of all pairs, each (B,) nats, from the same rows."""
    rows = pack([build_row([pair], Conditioning.AVERAGED) for pair in pairs], 4096)
    parts = [request_logps(model, row) for row in rows]
    return {request: torch.cat([part[request] for part in parts]) for request in parts[0]}


def main() -> None:
    """Print one line per policy and reference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="of pretraining")
    parser.add_argument("--pairs", type=int, default=500, help="to measure on")
    options = parser.parse_args()
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    data = pairs_of(np.random.default_rng(1), options.pairs)
    print("| pretrained on | reference | mean | standard deviation | largest | log-ratio of the chosen, mean |")
    print("|---|---|---|---|---|---|")
    for name, seen in (("single responses", Conditioning.NONE), ("also pairs in a row", Conditioning.AVERAGED)):
        logps = all_logps(pretrained(seen, options.steps), data)
        for context in ReferenceContext:
            ((_, pairs),) = PreferenceLoss("dpo", Conditioning.SYMMETRIC, reference_context=context).terms(logps, logps)
            chosen, rejected = pairs.logratios()
            margins = chosen - rejected
            numbers = (float(n) for n in (margins.mean(), margins.std(), margins.abs().max(), chosen.mean()))
            print(f"| {name} | {context.value} | {' | '.join(f'{number:.2f}' for number in numbers)} |")


if __name__ == "__main__":
    main()
