"""Policies in the language world: what is drawn, what is measured, one cell from end to end; all with tiny models."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.language import training
from experiments.language.cells import Cell
from experiments.language.measuring import Yardstick, scale
from experiments.language.pairs import draw_pairs, labels, write_records
from experiments.language.reference import Pretraining, conversation, encode, make_reference, tokenizer
from experiments.language.samples import Words, kl, logps, prompts, respond
from experiments.language.world import Judge, Prompt, Writer
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss

PROMPT = Prompt("rivers", ("mill", "ferry", "delta", "bridge"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two policies of a few updates, one more trained than the other, and their words."""
    folder = tmp_path_factory.mktemp("references")
    made = [
        make_reference(Pretraining("B", updates=updates, batch=32, width=32, layers=1), folder / f"{updates}")
        for updates in (400, 500)
    ]
    (policy, words), (reference, _) = (training.load(path) for path in reversed(made))
    return policy, reference, words, made


def test_words_are_laid_out_as_the_template_writes_them():
    words = tokenizer()
    turns = [
        {"role": "user", "content": PROMPT.text()},
        {"role": "assistant", "content": "dear mill"},
        {"role": "assistant", "content": "hey"},
    ]
    ids, head = encode(words, PROMPT, [["dear", "mill"], ["hey"]])
    assert words.apply_chat_template(turns, tokenize=True)["input_ids"] == ids
    assert words.decode(ids[:head]) == "<user> about rivers mention mill ferry delta bridge <end>"
    assert words.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"] == ids[: head + 1]
    assert list(Words(words).prompt(PROMPT)) == ids[: head + 1]
    assert words.unk_token_id not in ids


@pytest.mark.parametrize(("kind", "two", "same"), [("A", 0.0, None), ("B", 0.5, 1 / 3), ("C", 0.5, 0.85 + 0.15 / 3)])
def test_references_see_what_their_kind_says(kind, two, same):
    """Styles of two in a row agree by chance, once in three, or 85 times in 100 and by chance in the rest."""
    rng, writer = np.random.default_rng(0), Writer(marks=0.0)
    found = [replies for _, replies in (conversation(rng, writer, kind) for _ in range(4000))]
    pairs = [replies for replies in found if len(replies) == 2]
    assert len(pairs) / len(found) == pytest.approx(two, abs=0.03)
    if same is not None:
        from experiments.language.world import read

        agree = [read(PROMPT, one).style == read(PROMPT, other).style for one, other in pairs]
        assert np.mean(agree) == pytest.approx(same, abs=0.04)


@pytest.mark.slow
def test_a_reference_is_made_once_and_never_mistaken(small):
    _, _, _, (shorter, _) = small
    options = Pretraining("B", updates=400, batch=32, width=32, layers=1)
    before = (shorter / "model.safetensors").read_bytes()
    assert make_reference(options, shorter) == shorter
    assert (shorter / "model.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="holds another reference"):
        make_reference(replace(options, seed=1), shorter)
    assert json.loads((shorter / "reference.json").read_text())["loss"] < np.log(55)


@pytest.mark.slow
def test_a_response_depends_on_its_key_and_nothing_else(small):
    policy, _, words, _ = small
    heads = [words.prompt(prompt) for prompt in prompts(20, 3)]
    alone = respond(policy, words, heads[:1], "key")
    together = respond(policy, words, heads, "key")
    assert alone[0] == together[0]
    assert together != respond(policy, words, heads, "another")


@pytest.mark.slow
def test_kl_has_the_mean_of_log_ratios_and_less_variance(small):
    """E[log pi / pi_ref] over the policy's own responses, by the trainer's own log-probs; 0 of a policy to itself."""
    policy, reference, words, _ = small
    heads = [words.prompt(prompt) for prompt in prompts(600, 4)]
    said = respond(policy, words, heads, "kl")
    request = LogpRequest(Role.CHOSEN)
    pairs = [PreferencePair(head, one.tokens, (*one.tokens, words.end)) for head, one in zip(heads, said, strict=True)]
    ratios = (
        logps(policy, words, pairs, [request])[request] - logps(reference, words, pairs, [request])[request]
    ).numpy()
    exact = kl(policy, reference, words, heads, said).numpy()
    difference = ratios - exact
    assert abs(difference.mean()) < 4 * difference.std() / len(ratios) ** 0.5
    assert exact.mean() > 0.01
    assert exact.std() < ratios.std()
    assert float(kl(policy, policy, words, heads, said).abs().max()) < 1e-9


@pytest.mark.slow
def test_pairs_and_labels(small, tmp_path):
    _, reference, words, _ = small
    judge = Judge(cycle=2.0)
    drawn = draw_pairs(reference, words, judge, 200, 5)
    assert all(pair.responses[0].tokens != pair.responses[1].tokens for pair in drawn)
    assert drawn[:50] == draw_pairs(reference, words, judge, 200, 5)[:50]
    stronger = [replace(pair, log_odds=pair.log_odds + 1) for pair in drawn]
    wins, more = labels(drawn, 5), labels(stronger, 5)
    assert all(after or not before for before, after in zip(wins, more, strict=True))
    assert sum(more) > sum(wins)
    control = {"<user>", "<assistant>", "<unknown>", "<pad>"}
    expected = np.mean([1 / (1 + np.exp(-pair.log_odds)) for pair in drawn])
    assert np.mean(wins) == pytest.approx(expected, abs=4 * 0.5 / len(drawn) ** 0.5)
    left_out = write_records(tmp_path / "pairs.jsonl", words, drawn, wins)
    records = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    usable = [
        place
        for place, pair in enumerate(drawn)
        if all(len(one.text_tokens) and not control & set(words.text(one)) for one in pair.responses)
    ]
    assert len(records) + left_out == 200
    assert len(records) == len(usable)
    place = usable[0]
    first = drawn[place]
    texts = [" ".join(words.text(response)) for response in first.responses]
    chosen, rejected = texts if wins[place] else texts[::-1]
    assert records[0] == {"prompt": first.prompt.text(), "chosen": chosen, "rejected": rejected}


@pytest.mark.slow
def test_the_reference_measures_as_itself(small):
    """KL 0, an even win rate, margins of 0: every judgment costs log 2."""
    _, reference, words, _ = small
    yardstick = Yardstick.of(reference, words, Judge(cycle=2.0), 300, 0)
    found = yardstick.measure(reference, PreferenceLoss("dpo", Conditioning.NONE, {"beta": 0.1}))
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    assert abs(found["value"] - 0.5) < 4 * found["value_se"]
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert found["log_loss_best"] < found["log_loss"]
    assert {name for name in found if not name.endswith("_se")} == {name[:-3] for name in found if name.endswith("_se")}


def test_margins_become_log_odds():
    assert scale(PreferenceLoss("dpo", Conditioning.NONE, {"beta": 0.3})) == 0.3
    assert scale(PreferenceLoss("ipo", Conditioning.NONE, {"tau": 0.25})) == 1.0
    assert scale(PreferenceLoss("orpo", Conditioning.NONE)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["none", "anchored"])
def test_a_cell_from_end_to_end(small, tmp_path, monkeypatch, conditioning):
    """The trainer of scaled/ on the judge's labels: the policy leaves the reference and wins more."""
    _, _, _, made = small
    monkeypatch.setattr(training, "reference_of", lambda *_: made[0])
    monkeypatch.setattr(training, "PROMPTS", 200)
    training.yardstick.cache_clear()
    cell = Cell("dpo", conditioning, {"beta": 0.1}, seed=7, pairs=192, epochs=2.0, learning_rate=3e-3)
    points, seconds = training.run(cell, tmp_path)
    training.yardstick.cache_clear()
    assert [point["update"] for point in points] == [1, 2, 4, 5]  # of 5: .5, 1.25, 2.5, 3.75 and 5, rounded
    assert points[-1]["kl"] > points[0]["kl"] >= 0
    assert seconds > 0
    assert not list((tmp_path / "runs").iterdir())
    if conditioning == "none":
        assert points[-1]["value"] > points[0]["value"]
    again, _ = training.run(cell, tmp_path)
    assert again == points
    assert torch.is_grad_enabled()
