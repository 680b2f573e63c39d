"""Generation side by side in one run: ``python benchmarks/generation.py``.

Tokens per second of the batched backend against a plain loop over ``generate`` in batches of the same size, padded on
the left, in the order of the prompts: on prompts and answers of uneven length, and on even ones. Answers have given
lengths, so that both write the same number of tokens; a batch of ``generate`` ends with its longest.

The margins of the best of 8 in one tree against 28 pairs one by one: each pair a tree of its own, as in training, and
each of its two sequences alone.

And how many answers are other tokens in bf16 in another batch than alone, which float32 never has.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np
import torch
from side_by_side import Spent, at_least, command_line, finish, markdown, ratios, take_turns
from transformers import LlamaConfig, LlamaForCausalLM, StoppingCriteria, StoppingCriteriaList

from inspo.conditioning import Conditioning, LogpRequest
from inspo.hf.rows import enable_tree_rows, request_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import build_row
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Completion, Request, Settings
from scaled.generation.margins import Margins

VOCABULARY = 4096
END = VOCABULARY - 1
SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "vocab_size": VOCABULARY,
}


def random_model(dtype: torch.dtype = torch.float32) -> Any:
    """A small Llama whose next tokens are neither certain nor all alike."""
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**SIZES))
    model.lm_head.weight.data.mul_(16)  # as uncertain as real models are, about one nat a token
    return model.to(dtype).eval()


def workload(*, even: bool, count: int) -> list[Request]:
    """Prompts and answers of 64 tokens each, or of 8 to 256 tokens, evenly in the logarithm."""
    rng = np.random.default_rng(0)

    def length() -> int:
        return 64 if even else int(np.exp(rng.uniform(np.log(8), np.log(256))))

    return [
        Request(f"0/{i}", tuple(rng.integers(3, END, length()).tolist()), Settings(0.7, 0.95, length()))
        for i in range(count)
    ]


class _Lengths(StoppingCriteria):
    """Ends each row at its own length; what comes after is padding."""

    eos_token_id = END

    def __init__(self, width: int, lengths: Sequence[int]) -> None:
        self.width, self.lengths = width, torch.tensor(lengths)

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        return input_ids.shape[1] - self.width >= self.lengths


def plain_loop(model: Any, requests: Sequence[Request], batch: int) -> None:
    """Batches in order, padded on the left, each up to its longest answer."""
    for start in range(0, len(requests), batch):
        group = requests[start : start + batch]
        width = max(len(request.prompt) for request in group)
        tokens = torch.zeros((len(group), width), dtype=torch.long)
        for row, request in enumerate(group):
            tokens[row, width - len(request.prompt) :] = torch.tensor(request.prompt)
        lengths = [request.settings.max_tokens for request in group]
        model.generate(
            tokens,
            attention_mask=(tokens > 0).long(),
            do_sample=True,
            temperature=0.7,
            top_p=0.95,
            top_k=0,
            max_new_tokens=max(lengths),
            eos_token_id=None,
            pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([_Lengths(width, lengths)]),
        )


def batched(model: Any, requests: Sequence[Request], batch: int) -> dict[str, Completion]:
    """The backend of the command."""
    sampled = TransformersBackend(model, [VOCABULARY], slots=batch).generate(deque(requests))
    return {request.key: completion for request, completion in sampled}


def spent(work: Callable[[], object]) -> Spent:
    """What a piece of work takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def throughput(batch: int, count: int, repeats: int) -> list[list[str]]:
    """Rows of the first table."""
    theirs, ours = random_model(), random_model()
    enable_tree_rows(ours)
    rows = [["prompts and answers", "wanted", "generate, tokens/s", "ours, tokens/s", "ratio: wall", "CPU"]]
    for name, even, wanted in (("8 to 256 tokens", False, 1.3), ("64 tokens", True, 0.95)):
        requests = workload(even=even, count=count)
        tokens = sum(request.settings.max_tokens for request in requests)
        found = take_turns(
            {
                "generate": partial(spent, partial(plain_loop, theirs, requests, batch)),
                "ours": partial(spent, partial(batched, ours, requests, batch)),
            },
            repeats,
            warm_up=True,
        )
        wall, cpu = ratios(found["generate"], found["ours"])
        speeds = [tokens / statistics.median(turn.wall for turn in found[who]) for who in ("generate", "ours")]
        rows.append([name, f">= {wanted}", *(f"{speed:.0f}" for speed in speeds), f"{wall:.2f}", f"{cpu:.2f}"])
    return rows


def candidates(prompt: int, answer: int, shared: int) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """A prompt, and eight answers that begin with the same tokens."""
    rng = np.random.default_rng(1)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(3, END, count).tolist())

    start = tokens(shared)
    return tokens(prompt), [(*start, *tokens(answer - shared - 1), END) for _ in range(8)]


@torch.no_grad()
def one_by_one(model: Any, trees: Sequence[tuple[PreferencePair, tuple[LogpRequest, ...]]]) -> None:
    """A forward pass for each pair."""
    for pair, requests in trees:
        request_logps(model, build_row([pair], requests))


def best_of_8(repeats: int) -> list[list[str]]:
    """Rows of the second table."""
    model = random_model()
    enable_tree_rows(model)
    loss = PreferenceLoss("simpo", Conditioning.SYMMETRIC)
    margins = Margins(model, loss, END)
    rows = [["prompt", "answers", "begin alike", "wanted", "of 28 pairs: wall", "CPU", "of 56 sequences: wall", "CPU"]]
    for prompt_tokens, answer, shared in ((128, 128, 0), (128, 128, 16), (32, 128, 0)):
        prompt, answers = candidates(prompt_tokens, answer, shared)

        pairs, sequences = (
            [(PreferencePair(prompt, *pair), requests) for pair in chosen(answers, 2)]
            for chosen, requests in ((combinations, loss.requests()), (permutations, loss.requests()[:1]))
        )
        found = take_turns(
            {
                "tree": partial(spent, partial(margins.matrix, prompt, answers)),
                "pairs": partial(spent, partial(one_by_one, model, pairs)),
                "sequences": partial(spent, partial(one_by_one, model, sequences)),
            },
            repeats,
            warm_up=True,
        )
        shown = [str(prompt_tokens), str(answer), str(shared), "<= 0.5"]
        for other in ("pairs", "sequences"):
            wall, cpu = ratios(found["tree"], found[other])
            shown += [f"{wall:.2f}", f"{cpu:.2f}"]
        rows.append(shown)
    return rows


def _first_difference(one: Completion, other: Completion) -> int:
    return next(place for place, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=True)) if a != b)


def drift(count: int) -> list[list[str]]:
    """Rows of the third table."""
    rows = [["dtype", "choice", "answers", "other tokens than alone", "first other token, median place", "tokens"]]
    for dtype in (torch.float32, torch.bfloat16):
        model = random_model(dtype)
        enable_tree_rows(model)
        for name, temperature in (("greedy", 0.0), ("T 0.7, p 0.95", 0.7)):
            requests = [
                Request(r.key, r.prompt, Settings(temperature, 0.95, 64)) for r in workload(even=False, count=count)
            ]
            alone, together = (batched(model, requests, slots) for slots in (1, 8))
            places = [_first_difference(alone[key], together[key]) for key in alone if alone[key] != together[key]]
            shown = f"{statistics.median(places):.0f}" if places else "-"
            rows.append([str(dtype)[6:], name, str(count), str(len(places)), shown, str(64 * count)])
    return rows


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--batch", type=at_least(1), default=8, help="answers at once")
    parser.add_argument("--count", type=at_least(1), default=48, help="prompts")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="turns")
    parser.add_argument("--threads", type=at_least(1), default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for rows in (
        throughput(options.batch, options.count, options.repeats),
        best_of_8(options.repeats),
        drift(options.count // 2),
    ):
        print(f"{markdown(rows)}\n", flush=True)


if __name__ == "__main__":
    finish(main)
