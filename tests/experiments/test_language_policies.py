"""Policies in the language world: what is drawn, what is measured, one cell from end to end; all with tiny models."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.language import training
from experiments.language.cells import Cell
from experiments.language.measuring import Yardstick, length_controlled, stratified
from experiments.language.pairs import draw_pairs, write_records
from experiments.language.preference_models import PreferenceModel, train_preference_model
from experiments.language.reference import Pretraining, conversation, encode, make_reference, tokenizer
from experiments.language.samples import Words, kl, logps, prompts, respond
from experiments.language.world import Judge, Prompt, Writer
from experiments.policies import labels, rescaled
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.generation.interface import Completion

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
    ids, own = encode(words, PROMPT, [("assistant", ["dear", "mill"]), ("assistant", ["hey"])])
    head = own.index(True)
    assert words.apply_chat_template(turns, tokenize=True)["input_ids"] == ids
    assert words.decode(ids[:head]) == "<user> about rivers mention mill ferry delta bridge <end>"
    assert own == [False] * head + [True] * (len(ids) - head)
    assert words.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"] == ids[: head + 1]
    assert list(Words(words).prompt(PROMPT)) == ids[: head + 1]
    assert words.unk_token_id not in ids


@pytest.mark.parametrize(("kind", "two", "same"), [("A", 0.0, None), ("B", 0.5, 1 / 3), ("C", 0.5, 0.85 + 0.15 / 3)])
def test_references_see_what_their_kind_says(kind, two, same):
    """Styles of two in a row agree by chance, once in three, or 85 times in 100 and by chance in the rest."""
    rng, writer = np.random.default_rng(0), Writer(marks=0.0)
    found = [[said for _, said in turns] for _, turns in (conversation(rng, writer, kind) for _ in range(4000))]
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
def test_an_unrelated_context_is_the_next_pairs_response_laid_out_as_a_context_is(small, tmp_path):
    _, reference, words, _ = small
    drawn = draw_pairs(reference, words, Judge(), 40, 5)
    write_records(tmp_path / "pairs.jsonl", words, drawn, [True] * 40, unrelated=True)
    records = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    texts = [" ".join(words.text(pair.responses[0])) for pair in drawn]
    for record in records:
        asked, other = record["prompt"]
        place = next(p for p, pair in enumerate(drawn) if pair.prompt.text() == asked["content"])
        assert other == {"role": "assistant", "content": texts[(place + 1) % 40]}
        laid_out = words.tokenizer.apply_chat_template(record["prompt"], add_generation_prompt=True)["input_ids"]
        assert tuple(laid_out) == words.revision(drawn[place].prompt, drawn[(place + 1) % 40].responses[0])


@pytest.mark.slow
def test_the_reference_measures_as_itself(small):
    """KL 0, an even win rate, margins of 0: every judgment costs log 2."""
    _, reference, words, _ = small
    yardstick = Yardstick.of(reference, words, Judge(cycle=2.0), 300, 0)
    found = yardstick.deployed(reference, yardstick.answers(reference))
    found |= yardstick.judged(yardstick.margins_of(reference, PreferenceLoss("dpo", Conditioning.NONE, {"beta": 0.1})))
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    for name in ("value", "value_strata", "value_lc"):
        assert abs(found[name] - 0.5) < 5 * found["value_se"]
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert found["log_loss_best"] < found["log_loss"]


@pytest.mark.slow
def test_the_truth_as_a_judge_is_the_best_there_is(small):
    """It agrees with itself at scale 1 and makes its own choices; its opposite makes the worst ones."""
    _, reference, words, _ = small
    yardstick = Yardstick.of(reference, words, Judge(cycle=2.0), 200, 0)
    by_tokens = {words.prompt(prompt): prompt for prompt in yardstick.prompts}
    by_tokens |= {words.prompt(pair.prompt): pair.prompt for pair in yardstick.pairs}

    def truth(pairs):
        kinds = [
            [
                words.kind(by_tokens[pair.prompt], Completion(said, ended=said[-1] == words.end))
                for said in (pair.chosen, pair.rejected)
            ]
            for pair in pairs
        ]
        return np.array([yardstick.judge.log_odds(*each) for each in kinds])

    found = yardstick.judged(truth) | yardstick.ranked(truth)
    worst = yardstick.ranked(lambda pairs: -truth(pairs))
    assert found["agrees"] + 0.5 * np.mean([pair.log_odds == 0 for pair in yardstick.pairs]) == pytest.approx(1)
    assert found["log_loss"] == pytest.approx(found["log_loss_best"])
    assert found["scale"] == pytest.approx(1, abs=1e-3)
    assert found["able_log_loss"] == pytest.approx(found["able_log_loss_best"])
    for name in ("best_of_8", "counter_of_8"):
        assert found[name] == found[f"{name}_best"] == worst[f"{name}_best"]
        assert found[name] > 0.5 > worst[name]
    assert found["best_of_2"] > worst["best_of_2"]


@pytest.mark.slow
@pytest.mark.parametrize("pairwise", [False, True])
def test_a_preference_model_is_a_preference_and_learns_its_labels(small, pairwise):
    _, reference, words, _ = small
    drawn = draw_pairs(reference, words, Judge(), 200, 5)
    pairs = [
        PreferencePair(words.prompt(pair.prompt), *(one.tokens for one in pair.responses[:: 1 if wins else -1]))
        for pair, wins in zip(drawn, labels(drawn, 5), strict=True)
    ]
    torch.manual_seed(0)
    model = PreferenceModel(reference.model, reference.config.hidden_size, words, pairwise=pairwise)
    model.body = deepcopy(model.body)
    assert (model.judge(pairs) == 0).all()
    assert train_preference_model(model, pairs, 6, 3e-3, 0) == 42
    judged = model.judge(pairs)
    assert np.logaddexp(0, -judged).mean() < np.log(2) - 0.05
    swapped = [PreferencePair(pair.prompt, pair.rejected, pair.chosen) for pair in pairs]
    assert model.judge(swapped) == pytest.approx(-judged, abs=1e-5)
    assert model.judge(pairs[:1]) == pytest.approx(judged[:1], abs=1e-5), "padding is not seen"


def test_strata_weigh_as_the_reference_does():
    """Thirds of the reference at -3, 0, 3 words; 8 of 10 answers are long, and only they win."""
    usual = np.array([-3.0, 0.0, 3.0] * 10)
    difference = np.array([3.0] * 8 + [0.0, -3.0])
    value = np.array([1.0] * 8 + [0.4, 0.1])
    assert stratified(value, difference, usual) == pytest.approx((1 + 0.4 + 0.1) / 3)
    assert stratified(value[:9], difference[:9], usual) == pytest.approx((1 + 0.4) / 2), "none was shorter"


def test_a_length_controlled_rate_is_what_is_left_at_equal_length():
    """Win rates made by sigma(.3 + 2 tanh(d / 4)) have sigma(.3) at d = 0, wherever the lengths are."""
    difference = np.linspace(-2, 9, 60)
    value = 1 / (1 + np.exp(-0.3 - 2 * np.tanh(difference / 4)))
    assert value.mean() > 0.7
    assert length_controlled(value, difference, 4.0) == pytest.approx(1 / (1 + np.exp(-0.3)), abs=1e-4)


def test_a_judge_at_its_best_scale():
    """One that says a third of the truth is multiplied by three; one that knows nothing by nearly nothing."""
    truth = np.random.default_rng(0).normal(0, 2, 4000)
    factor, log_loss = rescaled(truth / 3, truth)
    assert factor == pytest.approx(3, abs=1e-2)
    assert len(log_loss) == 2000
    assert log_loss.mean() < np.log(2)
    assert rescaled(np.random.default_rng(1).normal(size=4000), truth)[0] < 0.1


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
    assert [point["update"] for point in points] == [1, 3, 6, 8, 11]  # of 11: 1.1, 2.75, 5.5, 8.25 and 11, rounded
    assert all(set(points[0]) <= set(point) for point in points)
    assert points[-1]["kl"] > 0
    assert seconds > 0
    assert not list((tmp_path / "runs").iterdir())
    if conditioning == "none":
        assert points[-1]["margin"] > points[0]["margin"]
    again, _ = training.run(cell, tmp_path)
    assert again == points
    assert torch.is_grad_enabled()
