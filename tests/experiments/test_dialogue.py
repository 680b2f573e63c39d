"""Conversations in the language world: the user, tokens and masks, measures, one cell from end to end, the figure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.dialogue import training
from experiments.dialogue.cells import Cell
from experiments.dialogue.conversations import Conversation, Drawn, converse, draw_pairs, kl, write_records
from experiments.dialogue.hypotheses import HYPOTHESES
from experiments.dialogue.measuring import Yardstick
from experiments.dialogue.reference import Tuning, conversation, make_reference
from experiments.hypotheses import wanted
from experiments.language.reference import Pretraining, encode, tokenizer
from experiments.language.samples import Words, logps, prompts
from experiments.language.world import Judge, Kind, Prompt, Writer, follow_up
from experiments.ledger import Result
from experiments.worlds import world
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.preference_loss import PreferenceLoss
from scaled.data.records import load_records
from scaled.data.tokens import tokenize

PROMPT = Prompt("rivers", ("mill", "ferry", "delta", "bridge"))
THEN = Prompt("rivers", ("ferry", "anchor", "kettle", "needle"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two references of a few updates that have seen conversations, their words, and the second one's folder."""
    folder = tmp_path_factory.mktemp("references")
    first = Pretraining("B", updates=200, batch=32, width=32, layers=1)
    made = [make_reference(Tuning(first, updates, 32), folder / f"{updates}") for updates in (150, 250)]
    (policy, words), (reference, _) = (training.load(path) for path in reversed(made))
    return policy, reference, words, made[1]


def said(words, first, second, then=THEN):
    return Conversation(PROMPT, words.completion(first), then, words.completion(second))


def test_the_user_asks_again_for_what_was_left_out():
    rng = np.random.default_rng(1)
    for told in ([], ["mill"], ["mill", "delta", "hey"], list(PROMPT.things)):
        then = follow_up(rng, PROMPT, told)
        missing = [thing for thing in PROMPT.things if thing not in told]
        assert list(then.things[: len(missing)]) == missing
        assert len(set(then.things)) == 4
        assert not set(then.things[len(missing) :]) & set(PROMPT.things)
        assert then.topic == "rivers"


def test_the_judge_sees_both_replies_and_the_second_ones_style():
    words = Words(tokenizer())
    one = said(words, ["dear", "mill", "ferry"], ["indeed", "ferry", "anchor", "kettle"])
    assert one.kind(words) == Kind((0.5 + 0.75) / 2, "stern", 7)
    assert said(words, ["dear", "mill", "ferry"], []).kind(words).quality == (0.5 - 0.5) / 2


def test_pairs_are_what_the_trainer_makes_of_their_records(tmp_path):
    """Tokens and masks of the measured pairs are those of the trained ones."""
    words = Words(tokenizer())
    one, other = said(words, ["mill"], ["hey", "ferry"]), said(words, ["delta", "wow"], ["thus"], PROMPT)
    drawn = [Drawn((one, other), 1.0), Drawn((one, said(words, [], ["thus"])), 1.0)]
    assert write_records(tmp_path / "pairs.jsonl", words, drawn, [False, True]) == 1
    (pair,) = tokenize(load_records(tmp_path / "pairs.jsonl"), words.tokenizer)
    measured = Drawn((other, one), 0.0).pair(words)
    assert (pair.prompt, pair.chosen, pair.rejected) == (measured.prompt, measured.chosen, measured.rejected)
    assert (pair.chosen_masked, pair.rejected_masked) == (measured.chosen_masked, measured.rejected_masked)
    (begin, end), *_ = pair.chosen_masked
    assert words.tokenizer.decode(pair.chosen[begin:end]) == f"<user> {PROMPT.text()} <end> <assistant>"


def test_the_reference_reads_what_users_say_and_learns_what_assistants_do():
    words = tokenizer()
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(50):
        prompt, turns = conversation(rng, Writer())
        lengths.add(len(turns))
        ids, own = encode(words, prompt, turns)
        learned = words.decode([token for token, mine in zip(ids, own, strict=True) if mine])
        assert learned.count("<assistant>") == learned.count("<end>") == sum(role == "assistant" for role, _ in turns)
        assert "<user>" not in learned
    assert lengths == {3, 6}


@pytest.mark.slow
def test_kl_has_the_mean_of_log_ratios(small):
    policy, reference, words, _ = small
    talks = [one for one in converse(policy, words, prompts(300, 5), "kl", 5) if one.first.ended]
    request = LogpRequest(Role.CHOSEN)
    pairs = [Drawn((one, said(words, ["hey"], ["wow"])), 0.0).pair(words) for one in talks]
    own, other = (logps(model, words, pairs, [request])[request].numpy() for model in (policy, reference))
    exact = kl(policy, reference, words, talks).numpy()
    difference = own - other - exact
    assert abs(difference.mean()) < 4 * difference.std() / len(talks) ** 0.5
    assert exact.mean() > 0.01
    assert float(kl(policy, policy, words, talks[:9]).abs().max()) < 1e-9


@pytest.mark.slow
def test_the_same_user_asks_whoever_replies(small):
    policy, reference, words, _ = small
    asked = prompts(40, 6)
    ours, theirs = (converse(model, words, asked, "a", 6) for model in (policy, reference))
    assert converse(policy, words, asked, "a", 6) == ours
    same = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.first == other.first]
    assert same
    assert all(one.then == other.then for one, other in same)
    behind = converse(policy, words, asked, "a", 6, drafts=theirs)
    assert [one.prompt for one in behind] == asked
    assert behind != ours


@pytest.mark.slow
def test_the_reference_measures_as_itself(small):
    """KL 0, an even win rate, margins of 0: every judgment costs log 2."""
    _, reference, words, _ = small
    measure = Yardstick.of(reference, words, Judge(cycle=2.0), 200, 0)
    found = measure.measure(reference, PreferenceLoss("dpo", Conditioning.NONE, {"beta": 0.5}), whole=True)
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    assert abs(found["value"] - 0.5) < 4 * found["value_se"]
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert found["log_loss_best"] < found["log_loss"]
    assert found["gained"] == pytest.approx(found["revised"] - found["value"])
    errors = {name[:-3] for name in found if name.endswith("_se")}
    assert {name for name in found if not name.endswith("_se")} == errors | {"scale"}


@pytest.mark.slow
def test_draws_leave_out_equal_conversations(small, monkeypatch):
    _, reference, words, _ = small
    drawn = draw_pairs(reference, words, Judge(cycle=1.0), 30, 3)
    assert len(drawn) == 30
    both = drawn[0].both
    assert drawn[0].log_odds == pytest.approx(Judge(cycle=1.0).log_odds(both[0].kind(words), both[1].kind(words)))
    monkeypatch.setattr("experiments.dialogue.conversations.converse", lambda *_args, **_options: [both[0]] * 30)
    assert draw_pairs(reference, words, Judge(), 30, 3) == []


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["none", "symmetric"])
def test_a_cell_from_end_to_end(small, tmp_path, monkeypatch, conditioning):
    """The trainer of scaled/ on the judge's labels: the policy leaves the reference, the same way each time."""
    *_, folder = small
    monkeypatch.setattr(training, "reference_of", lambda *_: folder)
    monkeypatch.setattr(training, "PROMPTS", 40)
    training.yardstick.cache_clear()
    cell = Cell("dpo", conditioning, {"beta": 0.1}, seed=7, pairs=64, epochs=1, learning_rate=3e-3)
    points, seconds = training.run(cell, tmp_path)
    assert points[-1]["kl"] > 0.01
    assert seconds > 0
    assert "agrees" in points[-1]
    assert len(points) == 1 or "agrees" not in points[0]
    (records,) = (tmp_path / "data").glob("dialogue-*.jsonl")
    first = json.loads(records.read_text().splitlines()[0])["chosen"]
    assert [turn["role"] for turn in first] == ["assistant", "user", "assistant"]
    if conditioning == "none":
        training.yardstick.cache_clear()
        assert training.run(cell, tmp_path)[0] == points
    training.yardstick.cache_clear()


def test_the_figure_draws_what_there_is(tmp_path):
    cells = wanted(list(HYPOTHESES.values()))
    cells = [*cells, Cell("dpo", "averaged", {"beta": 0.5}), Cell("dpo", "none", {"beta": 0.5}, pairs=80)]
    points = [{"kl": kl, "value": 0.5 + kl / 10, "value_even_length": 0.5} for kl in (0.5, 1.0)]
    assert world("dialogue").draw([Result(cell, points, 1.0, {}) for cell in cells], tmp_path) == "two_replies"
    assert (tmp_path / "two_replies.png").stat().st_size > 10_000
