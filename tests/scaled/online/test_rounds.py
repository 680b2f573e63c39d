"""Rounds of training on the policy's own responses: what is drawn, labeled, trained and measured."""

import json

import pytest
import torch
from tiny_online import PROMPTS, configured, lines, shorter, write_policy, write_prompts
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.language.reference import tokenizer
from inspo.command_line import UserError
from scaled.generation.draws import uniform
from scaled.model.loading import load_architecture, weights_fingerprint
from scaled.model.random_weights import fitting_architecture, write_random_model
from scaled.online.prepare import prepare
from scaled.online.rounds import loop
from scaled.online.sampling import pairings


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online")
    return write_policy(folder / "policy"), write_prompts(folder / "prompts.jsonl")


@pytest.fixture(scope="module")
def done(places, tmp_path_factory):
    """Two rounds with three responses to a prompt, and what a caller saw of them."""
    seen = []
    config = configured(*places, tmp_path_factory.mktemp("rounds"), samples_per_prompt=3, pairs_per_prompt=2)
    return loop(config, judge=shorter, each=seen.append), seen


def fingerprint(folder):
    return weights_fingerprint(str(folder), load_architecture(str(folder)))


def test_a_caller_sees_every_round_as_it_ends(done, places):
    rounds, seen = done
    assert rounds == seen
    assert [each.number for each in rounds] == [0, 1, 2]
    assert rounds[0].model == str(places[0])
    assert fingerprint(rounds[1].model) != fingerprint(rounds[0].model)
    assert all(fingerprint(each.model) == each.facts["model_weights"] for each in rounds[1:])
    assert rounds[2].facts["policy"] == rounds[1].model


def test_records_are_what_the_judge_says_of_the_draws(done):
    """From the drawn texts alone: every judged pair that is no tie, the shorter response chosen."""
    for each in done[0][1:]:
        draws, records = lines(each.folder / "draws.jsonl"), lines(each.folder / "records.jsonl")
        expected, pairs = [], dict.fromkeys(("equal", "empty", "cut_off", "judged", "ties"), 0)
        for draw in draws:
            for i, j in ((0, 1), (0, 2)):
                one, other = draw["responses"][i], draw["responses"][j]
                texts = one["text"], other["text"]
                if not (one["ended"] and other["ended"]):
                    pairs["cut_off"] += 1
                elif not all(texts):
                    pairs["empty"] += 1
                elif texts[0] == texts[1]:
                    pairs["equal"] += 1
                else:
                    pairs["judged"] += 1
                    if len(texts[0]) == len(texts[1]):
                        pairs["ties"] += 1
                    else:
                        expected.append((draw["prompt"], *sorted(texts, key=len)))
        assert len(draws) == each.facts["prompts"] == len(PROMPTS) - 2
        assert each.facts["responses"] == 3 * len(draws)
        assert pairs == {name: each.facts["pairs"][name] for name in pairs}
        assert expected
        assert expected == [(r["prompt"], r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in records]
        assert each.facts["pairs"]["records"] == len(records)


def test_responses_are_the_policys_own(done, places):
    """Texts of tokens, other ones in each round and to each prompt."""
    tokenizer = AutoTokenizer.from_pretrained(places[0])
    found = [lines(each.folder / "draws.jsonl") for each in done[0][1:]]
    for draw in found[0]:
        for response in draw["responses"]:
            tokens = response["tokens"][:-1] if response["ended"] else response["tokens"]
            assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == response["text"]
    texts = [response["text"] for draws in found for draw in draws for response in draw["responses"]]
    assert len(set(texts)) > len(texts) / 2


def test_what_is_measured_is_of_the_answers(done):
    """Win rate and length from the files; the KL by transformers' own forward passes, one answer at a time."""
    theirs = lines(done[0][0].folder / "first.jsonl")
    first = AutoModelForCausalLM.from_pretrained(done[0][0].model)
    tokenizer = AutoTokenizer.from_pretrained(done[0][0].model)
    for each in done[0]:
        ours, found = lines(each.folder / "answers.jsonl"), each.facts["measured"]
        both = [(one["responses"][0], other["responses"][0]) for one, other in zip(ours, theirs, strict=True)]
        wins = [shorter("", one["text"], other["text"]) for one, other in both]
        assert found["win_rate"] == pytest.approx(sum(wins) / len(wins))
        lengths = torch.tensor([float(len(one["tokens"])) for one, _ in both])
        assert found["length"] == pytest.approx(lengths.mean().item())
        assert found["length_se"] == pytest.approx((lengths.std() / len(lengths) ** 0.5).item())
        policy = AutoModelForCausalLM.from_pretrained(each.model)
        ratios = []
        for line in ours:
            prompt = tokenizer.apply_chat_template(line["prompt"], add_generation_prompt=True)["input_ids"]
            tokens = torch.tensor([[*prompt, *line["responses"][0]["tokens"]]])
            with torch.no_grad():
                own, other = (model(tokens).logits[0, :-1].log_softmax(-1) for model in (policy, first))
            difference = (own - other).gather(-1, tokens[0, 1:, None])[len(prompt) - 1 :]
            ratios.append(difference.sum().item())
        assert found["kl"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-3)
    assert done[0][0].facts["measured"]["kl"] == 0
    assert done[0][2].facts["measured"]["kl"] != 0


@pytest.mark.parametrize("reference", ["previous", "first"])
def test_the_reference_is_the_previous_policy_or_the_first_one(reference, places, tmp_path):
    rounds = loop(configured(*places, tmp_path, reference=reference, measure_prompts=0))
    first, then = (json.loads((each.folder / "train" / "run.json").read_text()) for each in rounds[1:])
    assert first["initial_weights_fingerprint"] == fingerprint(places[0])
    assert then["initial_weights_fingerprint"] == fingerprint(rounds[1].model)
    assert first["reference_weights_fingerprint"] is None
    named = fingerprint(places[0]) if reference == "first" else None
    assert then["reference_weights_fingerprint"] == named
    assert rounds[2].facts["reference"] == (str(places[0]) if reference == "first" else rounds[1].model)
    assert rounds[2].facts["measured"] is None


def test_labels_are_drawn_by_the_probability(places, tmp_path):
    """The second round's label is another draw; a probability of 0 is never drawn."""

    def judge(_prompt, first, second):
        return 0.75 if first < second else 0.0

    config = configured(*places, tmp_path, rounds=1, labels="drawn", measure_prompts=0)
    (_, found) = loop(config, judge=judge)
    expected = []
    for verdict, draw in zip(lines(found.folder / "verdicts.jsonl"), lines(found.folder / "draws.jsonl"), strict=True):
        texts = [response["text"] for response in draw["responses"]]
        for probability in verdict["first_preferred"]:
            assert probability == judge("", *texts)
            first = uniform(f"0/label/{verdict['key']}/0", 1) < probability
            expected.append(texts if first else texts[::-1])
    records = lines(found.folder / "records.jsonl")
    assert [[r["chosen"][0]["content"], r["rejected"][0]["content"]] for r in records] == expected
    assert any(chosen > rejected for chosen, rejected in expected)


def test_each_round_takes_the_next_prompts(places, tmp_path):
    rounds = loop(configured(*places, tmp_path, prompts_per_round=10, measure_prompts=0))
    asked = [[line["prompt"][0]["content"] for line in lines(each.folder / "draws.jsonl")] for each in rounds[1:]]
    assert sorted(asked[0] + asked[1]) == sorted(PROMPTS)
    assert asked[0] != PROMPTS[:10]


def test_more_rounds_go_on_and_nothing_else_may_change(places, tmp_path, capsys):
    one = loop(configured(*places, tmp_path / "out", rounds=1))
    seen = []
    both = loop(configured(*places, tmp_path / "out"), each=seen.append)
    assert both[:2] == one == seen[:2]
    with pytest.raises(UserError, match=r"holds rounds of another configuration \(top_p was 1.0\): set another out"):
        loop(configured(*places, tmp_path / "out", top_p=0.5))
    weights = tmp_path / "out" / "round-1" / "train" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="has changed since round 1 ended: put it back"):
        loop(configured(*places, tmp_path / "out"))
    assert "error" not in capsys.readouterr().err


def test_the_rehearsal_passes_where_no_word_is_known_but_a_few(tmp_path):
    """The language world's tokenizer reads every other word as one and the same token."""
    words = tokenizer()
    write_random_model(tmp_path / "policy", fitting_architecture("tiny-llama", words), words, seed=1)
    ready = prepare(configured(tmp_path / "policy", write_prompts(tmp_path / "prompts.jsonl"), tmp_path / "out"))
    assert len(ready.prompts) == len(PROMPTS) - 2


@pytest.mark.parametrize("samples", range(2, 8))
def test_pairs_use_every_response_before_any_twice(samples):
    every = pairings(samples, samples)
    assert len({place for pair in every[: samples // 2] for place in pair}) == 2 * (samples // 2)
    assert len(set(pairings(samples, 100))) == samples * (samples - 1) // 2
