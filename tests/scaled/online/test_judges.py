"""Every kind of judge says what it is known to say of the pairs that were drawn."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch
from tiny_base import ROOT, small
from tiny_online import TRAIN, configured, lines, write_policy, write_prompts
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from inspo.command_line import UserError
from scaled.examples.judge_server import NAME, verdict
from scaled.generation.policy import Policy
from scaled.online.rounds import loop
from scaled.run.run import run


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online")
    return write_policy(folder / "policy"), write_prompts(folder / "prompts.jsonl")


def judged(found) -> list[tuple[dict, list[dict], float]]:
    """Prompt, two responses and P(first preferred) of every pair of a round."""
    draws, verdicts = (lines(found.folder / f"{name}.jsonl") for name in ("draws", "verdicts"))
    return [
        (draw["prompt"], [draw["responses"][place] for place in pair], probability)
        for draw, verdict in zip(draws, verdicts, strict=True)
        for pair, probability in zip(verdict["pairs"], verdict["first_preferred"], strict=True)
    ]


def test_a_reward_model(places, tmp_path):
    torch.manual_seed(0)
    made = AutoConfig.from_pretrained(places[0], num_labels=1, pad_token_id=0, initializer_range=0.3)
    reward = AutoModelForSequenceClassification.from_config(made).eval()
    reward.save_pretrained(tmp_path / "reward")
    tokenizer = AutoTokenizer.from_pretrained(places[0])
    tokenizer.save_pretrained(tmp_path / "reward")
    options = {"judge": "reward", "reward_model": str(tmp_path / "reward"), "rounds": 1, "samples_per_prompt": 3}
    (_, found) = loop(configured(*places, tmp_path / "out", pairs_per_prompt=3, **options))
    for prompt, responses, probability in judged(found):
        scores = []
        for response in responses:
            turns = [*prompt, {"role": "assistant", "content": response["text"]}]
            with torch.no_grad():
                given = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
                scores.append(reward(**given).logits.item())
        assert probability == pytest.approx(1 / (1 + math.exp(scores[1] - scores[0])), abs=1e-5)


@pytest.mark.parametrize("conditioning", ["none", "symmetric"])
def test_the_policys_own_margin(conditioning, places, tmp_path):
    """Of whole sequences: beta times the difference of log pi(y | x, context) / pi_ref(y | x), context none or y'."""
    data = tmp_path / "data.jsonl"
    pairs = [{"prompt": f"Name {n}.", "chosen": f"{n} owls", "rejected": f"no {n}"} for n in range(8)]
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    own = TRAIN | {"conditioning": conditioning, "beta": 0.5}
    run(small(tmp_path / "seed", **(own | {"model": str(places[0]), "data": str(data), "validation_size": 0})))
    config = configured(tmp_path / "seed", places[1], tmp_path / "out", judge="margin", measure_prompts=0, train=own)
    rounds = loop(config)
    for found, writer, reference in (
        (rounds[1], tmp_path / "seed" / "model", places[0]),
        (rounds[2], rounds[1].model, rounds[0].model),
    ):
        policy, before = (AutoModelForCausalLM.from_pretrained(folder) for folder in (writer, reference))
        known = Policy.of(str(writer))

        def log_prob(model, prompt, response):
            tokens = torch.tensor([[*prompt, *response]])
            with torch.no_grad():
                logps = model(tokens).logits[0, :-1].double().log_softmax(-1)
            return logps.gather(-1, tokens[0, 1:, None])[-len(response) :].sum().item()

        seen = judged(found)
        assert len(seen) > 5
        for turns, responses, probability in seen:
            prompt = known.prompt(turns)
            ends = [(*each["tokens"][:-1], known.template.end_of_turn) for each in responses]
            ratios = [
                log_prob(policy, prompt if conditioning == "none" else (*prompt, *other), one)
                - log_prob(before, prompt, one)
                for one, other in (ends, ends[::-1])
            ]
            assert probability == pytest.approx(1 / (1 + math.exp(0.5 * (ratios[1] - ratios[0]))), abs=1e-3)
        assert any(abs(probability - 0.5) > 1e-3 for _, _, probability in seen)


def test_a_margin_whose_reference_is_gone_is_known_before_anything_is_drawn(places, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": "a", "chosen": f"b{n}", "rejected": "c"}) + "\n" for n in range(4)))
    base = write_policy(tmp_path / "base")
    run(small(tmp_path / "seed", **(TRAIN | {"model": str(base), "data": str(data), "validation_size": 0})))
    shutil.rmtree(base)
    with pytest.raises(UserError, match=f"model = {base}: cannot be loaded"):
        loop(configured(tmp_path / "seed", places[1], tmp_path / "out", judge="margin"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_endpoint(places, tmp_path):
    """Both orders are asked; a tie of the orders is one; what was asked is kept."""
    command = [sys.executable, str(ROOT / "scaled" / "examples" / "judge_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        options = {"judge": "endpoint", "judge_model": NAME, "endpoint": address, "rounds": 1}
        (_, found) = loop(configured(*places, tmp_path / "out", **options))
        server.stdin.close()
    seen = judged(found)
    for prompt, responses, probability in seen:
        first, second = (response["text"] for response in responses)
        asked = f"<request>\n{prompt[0]['content']}\n</request>\n<answer A>\n{first}\n</answer A>\n"
        said = verdict(f"{asked}<answer B>\n{second}\n</answer B>")
        assert probability == {"[[A]]": 1.0, "[[B]]": 0.0, "[[C]]": 0.5}[said[-5:]]
    kept = lines(found.folder / "verdicts.judgments.jsonl")
    assert len(kept) == 2 * len(seen)
    kept += lines(found.folder / "answers.verdicts.judgments.jsonl")
    tokens = sum(line["answer"][f"{part}_tokens"] for line in kept for part in ("prompt", "completion"))
    assert found.facts["judge_tokens"] == tokens > 0


def test_another_judge_may_measure(places, tmp_path):
    """One says that the first is preferred, whatever it is; the other that it is not."""
    config = configured(*places, tmp_path / "out", rounds=1)
    rounds = loop(config, judge=lambda *_: 1.0, measured_by=lambda *_: 0.0)
    assert [each.facts["measured"]["win_rate"] for each in rounds] == [0, 0]
    assert {probability for *_, probability in judged(rounds[1])} == {1}


def test_conversations_are_shown_as_messages(places, tmp_path):
    turns = [
        {"role": "user", "content": "Name a bird."},
        {"role": "assistant", "content": "The owl."},
        {"role": "user", "content": "Two?"},
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": each}) + "\n" for each in [turns, "Name two."] * 8))
    seen = []

    def judge(prompt, *_):
        seen.append(prompt)
        return 1.0

    loop(configured(places[0], prompts, tmp_path / "out", rounds=1, measure_prompts=0), judge=judge)
    assert turns in seen
    assert "Name two." in seen
