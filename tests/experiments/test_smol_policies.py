"""Policies in the world of a real model: layout, measures, one cell from end to end, the figure; with a tiny model."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tiny_base import ROOT, write_base

from experiments.hypotheses import wanted
from experiments.ledger import Result
from experiments.policies import logps, made_once
from experiments.smol import figure, training
from experiments.smol.cells import Cell
from experiments.smol.hypotheses import HYPOTHESES
from experiments.smol.measuring import Yardstick
from experiments.smol.pairs import judged, kept, write_records
from experiments.smol.reference import BASE, Tuning, conversations, encode, load, make_reference, tune
from experiments.smol.samples import SYSTEM, kl, messages, respond
from experiments.smol.world import STYLES, Judge, prompts, read
from experiments.smol.world import style as style_of
from experiments.worlds import world
from inspo.command_line import UserError
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.hf.rows import enable_tree_rows
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.generation.interface import Completion
from toy import style

SAID = (
    "I love it so much.", "We hate the noise there.", "You should go there soon.", "Your dog will love it.",
    "The place is great fun.", "It is a horrible thing.",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder, model and tokens of a tiny reference that has learned to say one of :data:`SAID`."""
    folder = write_base(tmp_path_factory.mktemp("smol") / "base", seed=1)
    model, talk = load(folder)
    rng = np.random.default_rng(0)
    made = [
        encode(talk, prompt, [str(one) for one in rng.choice(SAID, 1 + place % 2)])
        for place, prompt in enumerate(prompts("reference", 64, 0))
    ]
    options, tuned = Tuning(epochs=8, learning_rate=5e-3), folder.with_name("tuned")

    def make():
        loss = tune(model, made, options, "tiny")
        model.save_pretrained(tuned)
        talk.tokenizer.save_pretrained(tuned)
        return {"loss": loss}

    made_once(tuned, options, make)
    return tuned, *training.load(tuned)


@pytest.mark.slow
def test_answers_are_laid_out_as_the_template_writes_them(small):
    _, _, talk = small
    prompt = prompts("pairs", 1, 0)[0]
    turns = [*messages(prompt), {"role": "assistant", "content": SAID[0]}, {"role": "assistant", "content": SAID[1]}]
    tokens, labels = encode(talk, prompt, SAID[:2])
    whole = talk.tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"]
    assert whole[: len(tokens)] == tokens
    head = talk.revision(prompt, talk.completion(SAID[0]))
    assert tuple(tokens[: len(head)]) == head
    learned = [token for token in labels if token != -100]
    assert learned == [*talk.completion(SAID[0]).tokens, *talk.completion(SAID[1]).tokens]
    assert SYSTEM in talk.tokenizer.decode(talk.prompt(prompt))
    assert talk.kind(talk.completion(SAID[0])) == read(SAID[0])
    assert talk.kind(Completion((*talk.ids(SAID[0]), talk.end, talk.end), ended=True)).style is None
    cut = Completion(talk.ids(SAID[0]), ended=False)
    assert talk.revision(prompt, cut) == head


def test_conversations_of_each_kind():
    found = [("one", ["a", "b"]), ("two", ["c", "d"]), ("three", ["e"]), ("four", [])]
    assert conversations(found, "A") == [
        ("one", ["a"]),
        ("one", ["b"]),
        ("two", ["c"]),
        ("two", ["d"]),
        ("three", ["e"]),
    ]
    assert conversations(found, "B") == [("one", ["a", "b"]), ("two", ["c"]), ("two", ["d"]), ("three", ["e"])]


@pytest.mark.slow
def test_kl_has_the_mean_of_log_ratios_and_does_not_depend_on_the_batch(small):
    folder, policy, talk = small
    reference, _ = load(folder)
    enable_tree_rows(reference)
    with torch.no_grad():
        for weights in reference.parameters():
            weights.mul_(0.97)
    heads = [talk.prompt(prompt) for prompt in prompts("measure", 200, 4)]
    said = respond(policy, talk, heads, "kl")
    request = LogpRequest(Role.CHOSEN)
    pairs = [PreferencePair(head, one.tokens, (*one.tokens, talk.end)) for head, one in zip(heads, said, strict=True)]
    own, other = (logps(model, talk.separator, pairs, [request])[request].numpy() for model in (policy, reference))
    exact = kl(policy, reference, talk, heads, said).numpy()
    difference = own - other - exact
    assert abs(difference.mean()) < 4 * difference.std() / len(said) ** 0.5
    assert exact.mean() > 0.01
    alone = kl(policy, reference, talk, heads[:9], said[:9], batch=1).numpy()
    assert alone == pytest.approx(exact[:9], rel=1e-3, abs=1e-5)
    assert float(kl(policy, policy, talk, heads[:9], said[:9]).abs().max()) < 1e-9


@pytest.mark.slow
def test_pairs_leave_out_what_is_no_text(small, tmp_path):
    _, _, talk = small
    asked = prompts("pairs", 4, 0)
    first = [talk.completion(one) for one in (SAID[0], SAID[1], "", SAID[2])]
    second = [talk.completion(one) for one in (SAID[5], SAID[1], SAID[0], SAID[3])]
    drawn = judged(talk, Judge(), asked, first, second)
    assert drawn[0].log_odds == pytest.approx(4 * (read(SAID[0]).sentiment - read(SAID[5]).sentiment))
    assert write_records(tmp_path / "pairs.jsonl", talk, drawn, [True, True, True, False]) == 2
    records = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [(record["chosen"], record["rejected"]) for record in records] == [(SAID[0], SAID[5]), (SAID[3], SAID[2])]
    assert records[0]["prompt"] == [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked[0]}]


def test_answers_are_drawn_once(tmp_path):
    said = [Completion((1, 2, 3), ended=True), Completion((4,), ended=False)]
    assert kept(tmp_path / "new" / "first.json", lambda: said) == said
    assert kept(tmp_path / "new" / "first.json", lambda: pytest.fail("drawn again")) == said


@pytest.mark.slow
def test_the_reference_measures_as_itself(small, tmp_path):
    """KL 0, an even win rate, margins of 0: every judgment costs log 2."""
    _, model, talk = small
    measure = Yardstick.of(model, talk, Judge(cycle=2.0), 100, 0, tmp_path)
    found = measure.measure(model, PreferenceLoss("dpo", Conditioning.NONE, {"beta": 0.1}), whole=True)
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    assert abs(found["value"] - 0.5) < 4 * found["value_se"] + 0.05
    assert found["log_loss"] == pytest.approx(np.log(2))
    assert found["log_loss_best"] < found["log_loss"]
    assert sum(found[name] for name in (*STYLES, "malformed")) == pytest.approx(1)
    with_error = {name[:-3] for name in found if name.endswith("_se")}
    assert {name for name in found if not name.endswith("_se")} == with_error | {"scale"}
    assert found["value"] == pytest.approx((found["value_draft"] + 3 * found["value_other"]) / 4)
    assert abs(found["reward_gained"]) < 4 * found["reward_gained_se"] + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["none", "symmetric"])
def test_a_cell_from_end_to_end(small, tmp_path, monkeypatch, conditioning):
    """The trainer of scaled/ on the judge's labels: the policy leaves the reference, the same way each time."""
    folder, _, _ = small
    monkeypatch.setattr(training, "reference_of", lambda *_: folder)
    sizes = {"pairs": 48, "epochs": 1, "batch": 8, "prompts": 24}
    cell = Cell("dpo", conditioning, {"beta": 0.1}, seed=7, learning_rate=3e-3, **sizes)
    points, seconds = training.run(cell, tmp_path)
    assert len(points) == 2
    assert points[-1]["update"] > points[0]["update"] > 0
    assert all(point["kl"] > 0.01 for point in points)  # by the reference itself it is below 1e-9
    assert seconds > 0
    assert "agrees" in points[-1]
    assert "agrees" not in points[0]
    assert not list((tmp_path / "runs").iterdir())
    if conditioning == "none":
        training.yardstick.cache_clear()
        again, _ = training.run(cell, tmp_path)
        assert again == points


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"holds no model: python scaled/examples/fetch_smol.py"):
        make_reference(Tuning(), tmp_path / "reference", tmp_path / "nowhere")


def test_another_reference_is_never_mistaken(tmp_path):
    facts = {"made_from": asdict(Tuning())}
    (tmp_path / "reference.json").write_text(json.dumps(facts))
    assert make_reference(Tuning(), tmp_path, tmp_path / "nowhere") == tmp_path
    with pytest.raises(ValueError, match="holds another reference"):
        make_reference(Tuning(seed=1), tmp_path)


@pytest.mark.slow
def test_the_real_model_writes_english():
    folder = ROOT / BASE
    if not folder.is_dir():
        pytest.skip(f"{BASE} is not there: python scaled/examples/fetch_smol.py {BASE}")
    model, talk = load(folder)
    (said,) = respond(model, talk, [(*talk.prompt("How is the old bakery?"), *talk.ids("You"))], "english")
    assert style_of("You" + talk.text(said)) == "direct"


def test_the_figure_draws_what_there_is(tmp_path):
    cells = [c for c in wanted(list(HYPOTHESES.values())) if c.method != "ipo" and c.seed < 2]
    cells += [replace(cells[0], conditioning="averaged"), replace(cells[0], pairs=80)]
    shares = (0.5, 1.0, 2.0)
    results = [
        Result(c, [{"kl": kl + c.seed, "reward_gained": 0.1 * kl, "value": 0.5 + 0.1 * kl} for kl in shares], 1.0, {})
        for c in cells
    ]
    drawn = figure.draw(results, style.Page(width=9.0, bare=True))
    assert [len(axis.containers) for axis in drawn.axes] == [4, 4, 2, 2], "methods and conditionings of the questions"
    bars = drawn.axes[2].containers[0]
    assert bars.lines[0].get_xdata() == pytest.approx([0.0, 1.0, 1.5, 2.5])  # from the reference; of seeds 0 and 1
    assert [text.get_text() for text in drawn.legends[0].texts] == ["DPO", "SimPO", "INS (symmetric)", "plain"]
    assert world("smol").draw(results, tmp_path) == "reward_kl"
