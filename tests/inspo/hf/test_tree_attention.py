"""A packed tree row scores every token as its separate sequence does through the stock model."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny_models import (
    FAMILIES,
    SEPARATORS,
    gradients,
    keep_float64,
    random_pair,
    stock_attention,
    stock_logps,
    tiny_model,
)
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

import inspo.hf.rows
import inspo.hf.tree_attention
from inspo.conditioning import Conditioning
from inspo.hf.rows import enable_tree_rows, output_projection, row_logps
from inspo.hf.tree_attention import TREE_ATTENTION, pathwise, tree_attention
from inspo.hf.trees import TreeAttention
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row, concatenate

MAIN_FAMILIES = ("llama", "mistral", "gemma2", "qwen2", "qwen3")
OTHER_FAMILIES = tuple(family for family in FAMILIES if family not in MAIN_FAMILIES)
ROWS_PER_FAMILY = {**dict.fromkeys(MAIN_FAMILIES, 25), **dict.fromkeys(OTHER_FAMILIES, 5)}
BOTH = ("pathwise", "dense")

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Operations this small are slower on more threads, many times so beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case:
    """A packed row, a tree for each pair, with weights for its tokens' log-probs."""

    def __init__(self, pairs: list[PreferencePair], conditioning: Conditioning, **options) -> None:
        self.pairs, self.conditioning, self.options = pairs, conditioning, options
        self.trees = [build_row([pair], conditioning, **options) for pair in pairs]
        self.row = concatenate(self.trees)
        self.lengths = [len(target.labels) for target in self.row.targets]
        self.weights = torch.from_numpy(np.random.default_rng(0).normal(size=sum(self.lengths)))

    @classmethod
    def random(cls, seed: int, trees: int | None = None) -> Case:
        rng = np.random.default_rng(seed)
        pairs = [random_pair(rng) for _ in range(trees or int(rng.integers(1, 5)))]
        cap = None if rng.random() < 0.5 else int(rng.integers(1, 20))
        conditioning = list(Conditioning)[seed % len(Conditioning)]
        return cls(pairs, conditioning, separator=SEPARATORS[int(rng.integers(3))], draft_cap=cap)

    def stock(self, model, family: str) -> Tensor:
        """(n,) log-probs by the stock model; leaves the model on tree attention."""
        model.set_attn_implementation(stock_attention(family))
        logps = stock_logps(model, self.pairs, self.conditioning, **self.options)
        enable_tree_rows(model)
        return logps


def assert_same_logps(actual: Tensor, expected: Tensor, lengths, tolerance: float) -> None:
    """Each token within tolerance * max(1, |log-prob|), each target's sum within tolerance, relatively."""
    assert ((actual - expected).abs() <= tolerance * expected.abs().clamp(min=1)).all()
    for mine, stock in zip(actual.split(lengths), expected.split(lengths), strict=True):
        torch.testing.assert_close(mine.sum(), stock.sum(), rtol=tolerance, atol=tolerance)


def assert_same_gradients(actual, expected, tolerance: float) -> None:
    """Each parameter's gradient within tolerance of its largest entry."""
    assert actual.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        scale = max(gradient.abs().max(), 1e-3 * largest)  # Qwen's key biases have zero gradient, up to rounding
        assert (actual[name] - gradient).abs().max() <= tolerance * scale, name


def check_against_stock(model, family: str, case: Case, attention: str, tolerance: float) -> None:
    expected = case.stock(model, family)
    weights = case.weights.to(expected.dtype)
    expected_gradients = gradients(model, expected, weights)
    actual = row_logps(model, case.row, attention=attention)
    assert_same_logps(actual, expected, case.lengths, tolerance)
    assert_same_gradients(gradients(model, actual, weights), expected_gradients, tolerance)


def seeds(family: str) -> range:
    """Other trees for each family; the conditionings in turn."""
    start = 100 * list(FAMILIES).index(family)
    return range(start, start + ROWS_PER_FAMILY[family])


def test_there_are_at_least_200_trees():
    assert sum(len(Case.random(seed).pairs) for family in MAIN_FAMILIES for seed in seeds(family)) >= 200


# Llama and Gemma-2 stand for those of many rows in make check.
@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("mistral", "qwen2", "qwen3"))) for name in FAMILIES],
)
def test_trees_equal_separate_sequences(family):
    model = tiny_model(family)
    for seed in seeds(family):
        check_against_stock(model, family, Case.random(seed), BOTH[seed // len(Conditioning) % 2], tolerance=1e-5)


@pytest.mark.parametrize("attention", BOTH)
@pytest.mark.parametrize("family", [family for family in MAIN_FAMILIES if stock_attention(family) == "sdpa"])
def test_in_float64_to_1e_10(family, attention):
    model = keep_float64(tiny_model(family))
    for seed in range(len(Conditioning)):
        check_against_stock(model, family, Case.random(100 + seed), attention, tolerance=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("attention", BOTH)
@pytest.mark.parametrize("family", MAIN_FAMILIES)
def test_sequences_of_up_to_1024_tokens(family, attention):
    """Windows, where the family has them, are longer than the prompt and shorter than a response."""
    windowed = "sliding_window" in FAMILIES[family]
    model = tiny_model(family, **({"sliding_window": 200} if windowed else {}))
    rng = np.random.default_rng(3)
    prompt, chosen, rejected = (rng.integers(3, 94, length).tolist() for length in (100, 520, 404))
    case = Case([PreferencePair(prompt, chosen, chosen[:150] + rejected[150:])], Conditioning.SYMMETRIC)
    check_against_stock(model, family, case, attention, tolerance=1e-5)


@pytest.mark.parametrize("family", MAIN_FAMILIES)
def test_neighbours_and_order_do_not_matter(family):
    model = tiny_model(family)
    enable_tree_rows(model)
    case = Case.random(7, trees=4)
    counts = [sum(len(target.labels) for target in tree.targets) for tree in case.trees]
    alone = torch.cat([row_logps(model, tree) for tree in case.trees])
    together = row_logps(model, case.row)
    back = torch.cat(row_logps(model, concatenate(case.trees[::-1])).split(counts[::-1])[::-1])
    expected = gradients(model, alone, case.weights.float())
    for packed in (together, back):
        assert_same_logps(packed, alone, case.lengths, 1e-5)
        assert_same_gradients(gradients(model, packed, case.weights.float()), expected, 1e-5)


@pytest.mark.parametrize("attention", [*BOTH, "varlen"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_pairs_of_one_prompt_in_one_tree(family, attention, monkeypatch):
    """Four responses, the second and third of which start alike, make six pairs; as six trees give, to 1e-10."""
    monkeypatch.setattr(inspo.hf.tree_attention, "varlen_attn", varlen_reference)
    model = keep_float64(tiny_model(family))
    enable_tree_rows(model)
    rng = np.random.default_rng(5)
    prompt, *replies = (rng.integers(3, 94, length).tolist() for length in (12, 9, 14, 7, 11))
    replies[2][:4] = replies[1][:4]
    pairs = [PreferencePair(prompt, *two) for two in combinations(replies, 2)]
    for conditioning in Conditioning:
        for options in ({}, {"separator": SEPARATORS[1], "draft_cap": 5}):
            case = Case(pairs, conditioning, **options)
            tree = build_row(pairs, conditioning, **options)
            assert len(tree) < len(case.row)
            alone, together = (row_logps(model, row, attention=attention) for row in (case.row, tree))
            assert_same_logps(together, alone, case.lengths, 1e-10)
            expected = gradients(model, alone, case.weights)
            assert_same_gradients(gradients(model, together, case.weights), expected, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("family", MAIN_FAMILIES)
@torch.no_grad()
def test_flex_attention_on_cpu(family):
    model = tiny_model(family)
    for seed in (1, 2):
        case = Case.random(seed)
        expected = case.stock(model, family)
        assert_same_logps(row_logps(model, case.row, attention="flex"), expected, case.lengths, 1e-5)


def varlen_reference(query, key, value, query_ends, key_ends, max_q, max_k, *, scale, window_size, enable_gqa):
    """What the CUDA kernel promises: entry after entry, causal from the end, `window_size[0]` rows back."""
    outputs, queries, keys = [], [], []
    for q, k in zip(query_ends.tolist(), key_ends.tolist(), strict=True):
        queries.append(q)
        keys.append(k)
        if len(queries) == 1:
            continue
        q_part, k_part = slice(queries[-2], q), slice(keys[-2], k)
        q_rows, k_rows = q - queries[-2], k - keys[-2]
        behind = (torch.arange(q_rows) + k_rows - q_rows)[:, None] - torch.arange(k_rows)
        mask = (behind >= 0) & (behind <= (window_size[0] if window_size[0] >= 0 else k_rows))
        q_heads, k_heads, v_heads = (part.transpose(0, 1) for part in (query[q_part], key[k_part], value[k_part]))
        output = scaled_dot_product_attention(
            q_heads, k_heads, v_heads, attn_mask=mask, scale=scale, enable_gqa=enable_gqa
        )
        outputs.append(output.transpose(0, 1))
    assert (max_q, max_k) == (max(np.diff(queries)), max(np.diff(keys)))
    assert window_size[1] == 0
    return torch.cat(outputs)


@pytest.mark.parametrize("family", [family for family in MAIN_FAMILIES if family != "gemma2"])
def test_varlen_but_for_its_kernel(family, monkeypatch):
    monkeypatch.setattr(inspo.hf.tree_attention, "varlen_attn", varlen_reference)
    model = tiny_model(family)
    for seed in range(4):
        check_against_stock(model, family, Case.random(seed), "varlen", tolerance=1e-5)


# Its successor is newer than the transformers that we ask for.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_gradient_checkpointing_gives_the_same_gradients(family, use_reentrant, monkeypatch):
    model = tiny_model(family).train()
    enable_tree_rows(model)
    case = Case.random(1, trees=2)
    plain = row_logps(model, case.row)
    expected = gradients(model, plain, case.weights.float())
    calls = []
    monkeypatch.setitem(
        inspo.hf.tree_attention.IMPLEMENTATIONS,
        "pathwise",
        lambda *args: calls.append(1) or pathwise(*args),
    )
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    checkpointed = row_logps(model, case.row)
    assert_same_gradients(gradients(model, checkpointed, case.weights.float()), expected, 1e-6)
    torch.testing.assert_close(checkpointed, plain)
    assert len(calls) == 2 * model.config.num_hidden_layers  # forward, and again in the backward pass


def without(name):
    """Path-wise attention that forgets one of its options."""
    return lambda *args: pathwise(*args[:-1], dataclasses.replace(args[-1], **{name: None}))


def bool_mask_added(query, key, value, mask, scoring):
    """The trap of eager attention, which adds whatever mask it is given: True becomes + 1."""
    groups = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(groups, 1).mT * scoring.scaling
    if scoring.softcap is not None:
        scores = scoring.softcap * torch.tanh(scores / scoring.softcap)
    return torch.softmax(scores + mask, -1) @ value.repeat_interleave(groups, 1)


def window_in_rows(tree, q, k, window):
    """The window counted in rows of the packed row, as every library mask would, not in depth."""
    seen = (k <= q) & (q < tree.subtree_ends[k])
    return seen if window is None else seen & (q - k < window)


def any_earlier_row(tree, q, k, window):
    """The causal mask of the whole row."""
    return (k <= q) & (tree.positions[q] - tree.positions[k] < (window or 10**9))


IMPLEMENTATIONS = inspo.hf.tree_attention.IMPLEMENTATIONS


def projection_with(**changes):
    """The output projection with something forgotten."""
    return lambda model: output_projection(model)._replace(**changes)


MISTAKES = {
    "mistral without window": ("mistral", IMPLEMENTATIONS, "pathwise", without("window")),
    "qwen2 without window": ("qwen2", IMPLEMENTATIONS, "pathwise", without("window")),
    "gemma2 without window": ("gemma2", IMPLEMENTATIONS, "pathwise", without("window")),
    "gemma2 without attention cap": ("gemma2", IMPLEMENTATIONS, "pathwise", without("softcap")),
    "gemma2 with a boolean mask added": ("gemma2", inspo.hf.tree_attention, "_attend", bool_mask_added),
    "llama with a boolean mask added": ("llama", inspo.hf.tree_attention, "_attend", bool_mask_added),
    "mistral with window in rows": ("mistral", TreeAttention, "visible", window_in_rows),
    "llama with a causal mask": ("llama", TreeAttention, "visible", any_earlier_row),
    "gemma2 without final cap": ("gemma2", inspo.hf.rows, "output_projection", projection_with(softcap=None)),
    "granite without logit scale": ("granite", inspo.hf.rows, "output_projection", projection_with(logit_scale=1.0)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@torch.no_grad()
def test_each_silent_trap_would_show(mistake, monkeypatch):
    family, owner, name, wrong = MISTAKES[mistake]
    model = tiny_model(family)
    case = Case.random(3, trees=2)
    expected = case.stock(model, family)
    attention = "dense" if owner in (inspo.hf.tree_attention, TreeAttention) else "pathwise"
    assert_same_logps(row_logps(model, case.row, attention=attention), expected, case.lengths, 1e-5)
    if isinstance(owner, dict):
        monkeypatch.setitem(owner, name, wrong)
    else:
        monkeypatch.setattr(owner, name, wrong)
    assert (row_logps(model, case.row, attention=attention) - expected).abs().max() > 0.05


def test_no_mask_is_made_and_none_is_taken(monkeypatch):
    model = tiny_model("gemma2")
    enable_tree_rows(model)
    row = Case.random(0, trees=1).row
    tokens = torch.from_numpy(row.tokens)[None]
    tree = TreeAttention.of(row)
    for mask in (torch.ones_like(tokens), torch.ones(1, 1, len(row), len(row), dtype=torch.bool)):
        with pytest.raises(ValueError, match="takes no attention mask"):
            model(input_ids=tokens, **(tree.arguments() | {"attention_mask": mask}))
    with pytest.raises(ValueError, match="got no trees"):
        model(input_ids=tokens, **(tree.arguments() | {"tree": None}))
    with pytest.raises(ValueError, match="one row of"):
        model(input_ids=tokens[:, :-1], **(tree.arguments() | {"position_ids": tree.positions[None, :-1]}))
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, TREE_ATTENTION, None)  # noqa: SLF001  # called, it would raise
    model(input_ids=tokens, **tree.arguments())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_generation_on_tree_attention_is_that_of_the_stock_model(family):
    """Greedy, of two padded prompts, longer than the windows, with and without a cache, and a forward pass."""
    model = tiny_model(family)
    tokens = torch.randint(3, 90, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[0, :5] = 0

    def made() -> list[Tensor]:
        options = {"attention_mask": mask, "max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
        generated = [
            model.generate(tokens, **options, use_cache=cached, output_logits=True, return_dict_in_generate=True)
            for cached in (True, False)
        ]
        steps = [torch.stack(one.logits) for one in generated]
        return [*(one.sequences for one in generated), *steps, model(tokens[1:]).logits]

    model.set_attn_implementation(stock_attention(family))
    expected = made()
    enable_tree_rows(model)
    for ours, theirs in zip(made(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ({}, {"s_aux": torch.zeros(4)}, "wants s_aux"),
        ({"is_causal": False}, {}, "is bidirectional"),
        ({"layer_type": "sliding_attention"}, {}, "does not pass its window"),
    ],
)
def test_attention_of_another_kind_is_refused(module, arguments, message):
    layer = torch.nn.Module()
    vars(layer).update(module)
    row = Case.random(0, trees=1).row
    heads = torch.zeros(1, 2, len(row), 8)
    with pytest.raises(ValueError, match=message):
        tree_attention(layer, heads, heads, heads, None, tree=TreeAttention.of(row), **arguments)


def test_rows_are_checked():
    row = Case.random(0, trees=1).row
    with pytest.raises(ValueError, match="attention is 'sdpa', must be one of auto, pathwise"):
        TreeAttention.of(row, attention="sdpa")
    with pytest.raises(ValueError, match="positions along the path"):
        TreeAttention.of(dataclasses.replace(row, positions=row.positions + 1))
    with pytest.raises(ValueError, match="the row has"):
        TreeAttention.of(dataclasses.replace(row, paths=()))
    paths = Case.random(3, trees=2).row.paths
    with pytest.raises(ValueError, match="depth-first order"):
        TreeAttention.of(dataclasses.replace(Case.random(3, trees=2).row, paths=paths[::-1]))
