"""Continuous batching writes what each request would get alone, whatever shares the batch with it."""

import logging
from collections import Counter, deque

import pytest
import torch
from scipy.stats import chisquare
from tiny_models import VOCABULARY, stock_attention, tiny_model

from inspo.hf import enable_tree_rows
from scaled.generation.batching import TransformersBackend
from scaled.generation.draws import choose, uniform
from scaled.generation.interface import Completion, Request, Settings

END = 2
SHAPES = ("llama", "mistral", "gemma2", "gemma3_text", "qwen2", "qwen3", "gpt2")


def requests(temperature: float = 0.0, top_p: float = 1.0, count: int = 12) -> list[Request]:
    """Prompts of 1 to 30 tokens, two of them equal; completions of 6 to 6 + count tokens."""
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 31, (count,), generator=drawn).tolist()
    prompts = [tuple(torch.randint(3, VOCABULARY, (length,), generator=drawn).tolist()) for length in lengths]
    prompts[-1] = prompts[0]
    return [Request(f"0/{i}", prompt, Settings(temperature, top_p, 6 + i)) for i, prompt in enumerate(prompts)]


def shaped(family: str) -> torch.nn.Module:
    model = tiny_model(family)
    model.set_attn_implementation(stock_attention(family))
    return model


def written(model: torch.nn.Module, asked: list[Request], slots: int, ends: tuple[int, ...] = (END,)) -> dict:
    return {
        request.key: completion
        for request, completion in TransformersBackend(model, ends, slots=slots).generate(deque(asked))
    }


def by_generate(model: torch.nn.Module, request: Request) -> Completion:
    """What transformers writes, for this prompt alone."""
    prompt = torch.tensor([request.prompt])
    tokens = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=request.settings.max_tokens,
        eos_token_id=END,
        pad_token_id=END,
    )[0, len(request.prompt) :].tolist()
    return Completion(tuple(tokens), tokens[-1] == END)


@pytest.mark.parametrize("family", SHAPES)
def test_greedy_tokens_are_those_of_generate_one_by_one(family):
    model, asked = shaped(family), requests()
    assert written(model, asked, slots=4) == {request.key: by_generate(model, request) for request in asked}


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "qwen2"])
def test_neither_the_batch_nor_the_order_changes_a_token(family):
    model, asked = shaped(family), requests(0.7, 0.9)
    alone = written(model, asked, slots=1)
    assert written(model, asked, slots=5) == alone
    assert written(model, asked[::-1], slots=3) == alone
    assert len({completion.tokens for completion in alone.values()}) == len(asked)


def test_on_tree_attention_it_writes_the_same():
    model, asked = shaped("mistral"), requests(1.0)
    stock = written(model, asked, slots=4)
    enable_tree_rows(model)
    assert written(model, asked, slots=4) == stock


def test_a_choice_that_is_closer_than_rounding_is_made_by_the_row_alone(monkeypatch):
    """With a tolerance that covers every logit each token is computed alone, and is still the same."""
    model, asked = shaped("llama"), requests(0.7, 0.9, count=4)
    usual = written(model, asked, slots=3)
    calls = []
    alone = TransformersBackend._alone  # noqa: SLF001  # counted
    monkeypatch.setattr(TransformersBackend, "_alone", lambda self, tokens: calls.append(1) or alone(self, tokens))
    monkeypatch.setattr("scaled.generation.batching.TOLERANCE", 1e9)
    assert written(model, asked, slots=3) == usual
    assert len(calls) == sum(len(completion.tokens) for completion in usual.values())


def test_requests_that_come_while_others_are_written_are_written_too():
    model, asked = shaped("llama"), requests(1.0)
    waiting, late, found = deque(asked[:3]), asked[3:], {}
    for request, completion in TransformersBackend(model, [END], slots=2).generate(waiting):
        found[request.key] = completion
        if late:
            waiting.append(late.pop(0))
    assert found == written(model, asked, slots=12)


def test_any_of_several_ends_ends_a_completion():
    model, (request, *_) = shaped("llama"), requests()
    ((whole),) = written(model, [request], 1).values()
    end = whole.tokens[3]
    first = whole.tokens.index(end)
    (cut,) = written(model, [request], 1, ends=(END, end)).values()
    assert cut == Completion(whole.tokens[: first + 1], ended=True)
    assert cut.text_tokens == whole.tokens[:first]


def test_the_models_context_ends_a_completion_and_a_prompt_without_room_is_refused():
    model = tiny_model("llama", max_position_embeddings=8)
    (completion,) = written(model, [Request("0/a", (5, 6, 7), Settings(max_tokens=50))], 2, ends=(96,)).values()
    assert len(completion.tokens) == 5
    with pytest.raises(ValueError, match="0/b: a prompt of 8 tokens leaves no room in the model's context of 8"):
        written(model, [Request("0/b", tuple(range(3, 11)), Settings())], 2)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bloom", {"n_head": 4, "n_layer": 2}),
        ("mamba", {"state_size": 4, "num_hidden_layers": 1}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_architectures_that_cannot_be_batched_so_are_written_one_by_one(family, changes, caplog):
    model, asked = tiny_model(family, **changes), requests(count=3)
    with caplog.at_level(logging.WARNING):
        assert written(model, asked, slots=4) == {request.key: by_generate(model, request) for request in asked}
    assert "one by one" in caplog.text
    sampled = requests(1.0, count=3)
    assert written(model, sampled, slots=4) == written(model, sampled[::-1], slots=4) != written(model, asked, slots=4)


def test_an_architecture_that_no_test_covers_is_tried_first():
    model = tiny_model("olmo")
    assert not TransformersBackend(model, [END]).one_by_one
    forward = model.forward

    def sees_padding(*args, **kwargs):
        return forward(*args, **kwargs | {"attention_mask": None})

    model.forward = sees_padding
    assert TransformersBackend(model, [END]).one_by_one


@pytest.mark.parametrize("top_p", [1.0, 0.75])
def test_first_tokens_follow_the_distribution(top_p):
    """4000 draws against the exact probabilities, renormalized within the nucleus."""
    logits = torch.tensor([1.0, 3.0, 0.0, 2.5, -1.0, 2.0, 0.5])
    temperature = 0.7
    exact = torch.softmax(logits.double() / temperature, -1)
    order = exact.argsort(descending=True)
    mass = 0.0
    inside = torch.zeros(7, dtype=torch.float64)
    for token in order:
        if mass < top_p:
            inside[token] = exact[token]
        mass += float(exact[token])
    inside /= inside.sum()
    asked = [Request(f"7/{i}", (1,), Settings(temperature, top_p)) for i in range(4000)]
    tokens, _ = choose(logits.expand(4000, -1), asked, [0] * 4000)
    counts = Counter(tokens.tolist())
    kept = [token for token in range(7) if inside[token] > 0]
    assert set(counts) <= set(kept)
    assert len(kept) == (7 if top_p == 1 else 2)
    assert chisquare([counts[t] for t in kept], [4000 * float(inside[t]) for t in kept]).pvalue > 1e-3


def test_sequences_follow_the_models_own_distribution():
    """Pairs of tokens of a model with four tokens, against the product of its next-token probabilities."""
    model = tiny_model("llama", vocab_size=4, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    asked = [Request(f"3/{i}", (1, 3), Settings(max_tokens=2)) for i in range(1200)]
    found = Counter(c.tokens for c in written(model, asked, slots=64, ends=(99,)).values())
    with torch.no_grad():
        first = model(torch.tensor([[1, 3]])).logits[0, -1].double().softmax(-1)
        second = model(torch.tensor([[1, 3, t] for t in range(4)])).logits[:, -1].double().softmax(-1)
    expected = 1200 * first[:, None] * second
    likely = expected >= 5
    observed = torch.tensor([[found[a, b] for b in range(4)] for a in range(4)], dtype=torch.float64)
    cells = [*observed[likely].tolist(), float(observed[~likely].sum())]
    wanted = [*expected[likely].tolist(), float(expected[~likely].sum())]
    if wanted[-1] == 0:
        cells, wanted = cells[:-1], wanted[:-1]
    assert chisquare(cells, wanted).pvalue > 1e-3


def test_a_doubtful_draw_says_so():
    logits = torch.log(torch.tensor([[0.5, 0.5]]))
    key = next(f"{i}" for i in range(10**6) if abs(uniform(f"{i}", 0) - 0.5) < 1e-4)
    asked = [Request(key, (1,), Settings())]
    assert choose(logits, asked, [0], tolerance=1e-3)[1].item()
    assert not choose(logits, asked, [0], tolerance=1e-6)[1].item()
    greedy = [Request("0", (1,), Settings(temperature=0))]
    assert choose(logits, greedy, [0], tolerance=1e-6)[1].item()
    # 0.3 + 0.4 lies within 0.01 of top_p: whether the last token is inside depends on rounding.
    nucleus = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    last = next(f"{i}" for i in range(1000) if 0.75 < uniform(f"{i}", 0) < 0.85)
    asked = [Request(last, (1,), Settings(top_p=0.7001))]
    assert choose(nucleus, asked, [0], tolerance=1e-2)[1].item()
    assert choose(nucleus, asked, [0])[0].item() == 2


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_tokens": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="temperature must be >= 0"):
        Settings(**wrong)
