"""Pairs of one prompt in one tree against a tree each: ``python benchmarks/shared_prompts.py``.

Four completions of a prompt make six pairs, which come into one row: as six trees, as before pairs of one prompt shared
theirs, and as one. A step is forward, loss and backward of DPO with cached reference, both in turns. Texts are real,
answers of four models to AlpacaEval's questions, or, by ``--lengths PROMPT RESPONSE``, random tokens of these lengths.
Beside the measured ratio of pairs per second stands that of tokens, that of operations of this model and of one of 8B,
and the largest difference of a weight's gradient as a share of the largest gradient.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from one_pass_measure import CONDITIONINGS, machine, step_flops
from one_pass_pairs import judged_pairs
from one_pass_steps import SHAPES, build_model
from side_by_side import Spent, at_least, command_line, finish, markdown, ratios, take_turns

from inspo.conditioning import Conditioning
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import PackedRow, build_row, concatenate

COMPLETIONS = 4
Group = list[PreferencePair]
Tokens = tuple[int, ...]


def real_groups(count: int, vocabulary: int, seed: int) -> list[Group]:
    """Six pairs each of `count` questions that at least four models answered, within 1024 tokens."""
    pairs = judged_pairs(1500, 1024, vocabulary=vocabulary, tuples=True, seed=seed).pairs
    replies: dict[Tokens, dict[Tokens, None]] = {}
    for pair in pairs:
        replies.setdefault(tuple(pair.prompt), {}).update(dict.fromkeys(map(tuple, (pair.chosen, pair.rejected))))
    enough = [(prompt, list(found)) for prompt, found in replies.items() if len(found) >= COMPLETIONS]
    draw = np.random.default_rng(seed)
    chosen = [enough[place] for place in draw.permutation(len(enough))[:count]]
    return [_pairs(prompt, [found[i] for i in draw.permutation(len(found))]) for prompt, found in chosen]


def random_groups(count: int, prompt: int, response: int, vocabulary: int, seed: int) -> list[Group]:
    """The same of random tokens, each response between half and one and a half of the length."""
    draw = np.random.default_rng(seed)

    def tokens(length: int) -> list[int]:
        found: list[int] = draw.integers(4, vocabulary, length).tolist()
        return found

    def replies() -> list[list[int]]:
        spread = np.linspace(0.5, 1.5, COMPLETIONS)
        return [tokens(round(share * response)) for share in spread]

    return [_pairs(tokens(prompt), replies()) for _ in range(count)]


def _pairs(prompt: Sequence[int], replies: Sequence[Sequence[int]]) -> Group:
    return [PreferencePair(prompt, *two) for two in combinations(replies[:COMPLETIONS], 2)]


def step(model: Any, loss: PreferenceLoss, rows: Sequence[PackedRow]) -> dict[str, torch.Tensor]:
    """Gradients of one update over all rows."""
    model.zero_grad(set_to_none=True)
    for row in rows:
        policy = request_logps(model, row)
        # A reference at which no pair's gradient vanishes; its own log-probs are the same for both contenders.
        reference = {request: torch.full((len(row.records),), -1000.0) for request in loss.reference_requests()}
        loss(policy, reference).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def compare(name: str, groups: Sequence[Group], options: Any) -> list[str]:
    """One conditioning's row of the table."""
    conditioning: Conditioning = CONDITIONINGS[name]
    loss = PreferenceLoss("dpo", conditioning, {"beta": 0.001})
    rows = {
        "alone": [concatenate([build_row([pair], conditioning) for pair in group]) for group in groups],
        "shared": [build_row(group, conditioning) for group in groups],
    }
    model = build_model(SHAPES[options.shape], device="cpu", dtype=torch.float32, seed=options.seed)
    found: dict[str, dict[str, torch.Tensor]] = {}

    def timed(key: str) -> Spent:
        wall, cpu = time.perf_counter(), time.process_time()
        found[key] = step(model, loss, rows[key])
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)

    spent = take_turns({key: partial(timed, key) for key in rows}, options.repeats, warm_up=True)
    largest = max(float(gradient.abs().max()) for gradient in found["alone"].values())
    differing = max(float((found["shared"][k] - gradient).abs().max()) for k, gradient in found["alone"].items())
    faster = ratios(spent["alone"], spent["shared"])
    each = [a.cpu / b.cpu for a, b in zip(spent["alone"], spent["shared"], strict=True)]
    tokens = [sum(map(len, those)) for those in rows.values()]
    flops = [step_flops(SHAPES[shape], those) for shape in (options.shape, "8b") for those in rows.values()]
    speed = [6 * len(groups) / min(one.wall for one in spent[key]) for key in rows]
    return [
        name,
        f"{faster.wall:.2f}",
        f"{faster.cpu:.2f} ({min(each):.2f}-{max(each):.2f})",
        f"{tokens[0] / tokens[1]:.2f}",
        f"{flops[0] / flops[1]:.2f}, {flops[2] / flops[3]:.2f}",
        f"{speed[0]:.2f}, {speed[1]:.2f}",
        f"{differing / largest:.1e}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--prompts", type=at_least(1), default=2, help="of six pairs each")
    add("--lengths", type=at_least(4), nargs=2, metavar=("PROMPT", "RESPONSE"), help="tokens; else real texts")
    add("--conditionings", nargs="+", choices=CONDITIONINGS, default=["ins", "dpo", "averaged"])
    add("--shape", choices=("small", "medium"), default="medium", help="of the model")
    add("--repeats", type=at_least(1), default=3, help="turns")
    add("--threads", type=at_least(1), default=2, help="of torch")
    add("--seed", type=int, default=0, help="of texts and weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    vocabulary = SHAPES[options.shape].vocabulary
    if options.lengths:
        prompt_length, response = options.lengths
        groups = random_groups(options.prompts, prompt_length, response, vocabulary, options.seed)
    else:
        groups = real_groups(options.prompts, vocabulary, options.seed)
    prompt = np.mean([len(pair.prompt) for group in groups for pair in group])
    reply = np.mean([len(side) for group in groups for pair in group for side in (pair.chosen, pair.rejected)])
    heads = ["DPO", "times the pairs/s: clock", "CPU (range)", "tokens", "operations, and of 8B"]
    rows = [[*heads, "pairs/s: trees alone, shared", "gradients differ by"]]
    rows += [compare(name, groups, options) for name in options.conditionings]
    print(f"{options.prompts} prompts of {prompt:.0f} tokens, four responses of {reply:.0f} each: six pairs a prompt")
    print(f"{options.shape} model, {machine('cpu', options.threads)}\n")
    print(markdown(rows))


if __name__ == "__main__":
    finish(main)
