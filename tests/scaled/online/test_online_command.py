"""The command: a table and where results are; each mistake one line before any work."""

import json
import re

import pytest
import yaml
from tiny_base import ROOT, write_base
from tiny_online import TRAIN, values, write_policy, write_prompts

from inspo.command_line import UserError
from scaled.online.__main__ import main
from scaled.online.config import load


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online")
    return write_policy(folder / "policy"), write_prompts(folder / "prompts.jsonl")


@pytest.fixture
def command(places, tmp_path, capsys):
    """Runs it on a configuration with changes; exit code, output and errors."""

    def started(*settings: str, without: str = "", **changes) -> tuple[int, str, str]:
        given = values(*places, tmp_path / "out", **changes)
        given.pop(without, None)
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(given))
        code = main(["--config", str(tmp_path / "my.yaml"), *(part for each in settings for part in ("--set", each))])
        return code, *capsys.readouterr()

    return started


def test_it_shows_a_table_and_where_results_are(command, tmp_path):
    code, said, _ = command()
    assert code == 0
    table = said[said.rindex("round ") :].splitlines()
    assert [row.split()[0] for row in table[1:4]] == ["0", "1", "2"]
    facts = json.loads((tmp_path / "out" / "round-2" / "facts.json").read_text())
    found = facts["measured"]
    assert f"{found['win_rate']:.3f} ± {found['win_rate_se']:.3f}" in table[3]
    assert table[3].split()[-2:] == [str(facts["pairs"]["records"]), str(facts["updates"])]
    assert f"model:   {tmp_path / 'out' / 'round-2' / 'train' / 'model'}" in said
    again = command()
    assert again[0] == 0
    assert again[1][again[1].rindex("round ") :] == said[said.rindex("round ") :]
    assert "generate" not in again[2]


def test_keys_of_the_training_may_be_set(places, tmp_path):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values(*places, tmp_path / "out")))
    config = load([str(tmp_path / "my.yaml")], ["seed=3", "train.beta=0.5"])
    assert (config.seed, config.options.beta, config.options.batch_size) == (3, 0.5, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rouns": 2}, "unknown key 'rouns'; did you mean rounds?"),
        ({"without": "judge"}, "judge is missing: who labels"),
        ({"rounds": 0}, "rounds = 0 must be at least 1"),
        ({"temperature": 0}, "temperature = 0 must be greater than 0"),
        ({"labels": "soft"}, "labels = 'soft' must be one of sign, drawn"),
        ({"pairs_per_prompt": 2}, "pairs_per_prompt = 2: 2 responses make 1 pairs"),
        ({"measure_prompts": 1}, "measure_prompts = 1 has no standard error"),
        ({"measure_prompts": 20}, "measure_prompts = 20 leaves nothing of 20 records"),
        ({"prompts_per_round": 30}, "prompts_per_round = 30 is more than the 18 prompts"),
        ({"model": "nowhere/at/all"}, "model = nowhere/at/all: cannot be loaded"),
        ({"prompts": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"judge": "best"}, "judge = best must be reward, margin, endpoint, or module:function"),
        ({"judge": "nowhere:at_all"}, "judge: nowhere:at_all cannot be loaded"),
        ({"judge": "tiny_online:PROMPTS"}, "judge: tiny_online:PROMPTS is no function"),
        ({"judge": "reward"}, "judge: reward and reward_model go together"),
        ({"judge": "reward", "reward_model": "nowhere/at/all"}, "reward_model nowhere/at/all: cannot be loaded"),
        ({"judge": "margin"}, "was not trained by us, so that its margin has no reference"),
        ({"judge": "endpoint"}, "judge: endpoint and judge_model go together"),
        (
            {"judge": "endpoint", "judge_model": "j"},
            "the environment variable NO_KEY, or name another variable with key",
        ),
        ({"in_flight": 3}, "in_flight is for judge: endpoint; leave it out"),
        ({"measured_by": "tiny_online:shorter", "measure_prompts": 0}, "measured_by measures nothing"),
        ({"train": {"bta": 1}}, "train: unknown key 'bta'; did you mean beta?"),
        ({"train": {"data": "mine.jsonl"}}, "train: data is set by the loop"),
        ({"train": {"beta": "x"}}, "train: beta = 'x' must be a number or null"),
        ({"train": {"zero_stage": 2}}, "train: zero_stage must be 0: the loop is one process"),
        (
            {"train": {"batch_size": 64, "micro_batch": 64, "max_updates": None}},
            "train: 54 pairs in all epochs are fewer than one update",
        ),
        ({"train": {"max_length": 5}}, "is within max_length = 5"),
        ({"train": {"method": "orpo"}, "reference": "first"}, "reference = first: orpo has none"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_leaves_nothing(changes, said, command, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if changes.get("judge") == "endpoint" and "judge_model" in changes:
        changes = changes | {"key_variable": "NO_KEY"}
    code, shown, errors = command(**changes)
    assert code == 2
    assert said in errors
    assert [line.startswith("error: ") for line in errors.strip().splitlines()][-1]
    assert "Traceback" not in errors
    assert not shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "there are no records in it"),
        ('{"question": "a"}', "record 1: has no prompt: give it a column of that name"),
        ('{"prompt": 3}', 'record 1: column "prompt" must be text or a list of messages'),
        ('{"prompt": "a"', "record 1: not JSON"),
    ],
)
def test_prompts_that_are_none_are_one_line(line, said, command, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(f"{line}\n")
    code, _, errors = command(prompts=str(tmp_path / "prompts.jsonl"))
    assert code == 2
    assert said in errors


def test_a_round_without_a_label_says_why(command):
    code, _, errors = command(judge="tiny_online:undecided")
    assert code == 2
    assert "round 1: no pair is left to train on (" in errors
    assert " ties)" in errors


def test_a_judge_that_gives_no_probability_is_one_line(command):
    code, _, errors = command(judge="tiny_online:certain")
    assert code == 2
    assert "tiny_online:certain gave 'first' for 0/" in errors
    assert "it must give a probability in [0, 1]" in errors


def test_a_prompt_without_room_is_one_line(command, places, tmp_path):
    """The random model has a context of 2048 tokens or so; a prompt of more has none."""
    long = {"prompt": "owl " * 5000}
    (tmp_path / "prompts.jsonl").write_text(places[1].read_text() + json.dumps(long) + "\n")
    code, _, errors = command(prompts=str(tmp_path / "prompts.jsonl"), measure_prompts=0)
    assert code == 2
    assert "leaves no room in the model's context" in errors


def test_files_of_another_shape_are_named(command, tmp_path):
    command(rounds=1)
    kept = tmp_path / "out" / "online.json"
    whole = kept.read_text()
    kept.write_text(whole[:-20])
    assert f"{kept}: is not as it was written" in command(rounds=1)[2]
    kept.write_text(whole)
    (tmp_path / "out" / "round-1" / "facts.json").unlink()
    draws = tmp_path / "out" / "round-1" / "draws.jsonl"
    draws.write_text(draws.read_text()[:-20])
    assert f"{draws}: is not as it was written" in command(rounds=1)[2]


def test_an_interrupt_is_one_line(command, tmp_path):
    """While a judge thinks, and between two updates."""
    code, _, errors = command(judge="tiny_online:interrupted")
    assert code == 130
    assert errors.endswith("\nstopped: the same command goes on\n")
    code, _, errors = command(
        out=str(tmp_path / "training"), judge="tiny_online:shorter", train={"callbacks": ["tiny_online:enough"]}
    )
    assert code == 130
    assert errors.endswith("stopped (enough) after update 1, saved as checkpoint-1: start again to go on\n")


def test_the_shipped_configuration_is_one():
    config = load([str(ROOT / "scaled" / "configs" / "online" / "tiny.yaml")])
    assert config.rounds == 2
    assert config.options.method == "dpo"


def test_the_pages_configuration_and_code_are_right(places, tmp_path, capsys):
    page = (ROOT / "docs" / "online.md").read_text()
    (text,), (code,) = (re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("yaml", "python"))
    (tmp_path / "my.yaml").write_text(text)
    assert load([str(tmp_path / "my.yaml")]).options.batch_size == 64
    small = f"out={str(tmp_path / 'out')!r}, rounds=1, measure_prompts=2, max_tokens=24, train={TRAIN!r}"
    for old, new in (("results/mine", places[0]), ("prompts.jsonl", places[1]), ('train={"method": "dpo"}', small)):
        assert old in code
        code = code.replace(old, str(new))
    exec(code, {})  # noqa: S102  # our own page
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if "win_rate" in line] == ["0", "1"]


def test_other_weights_of_the_first_policy_are_refused(command, tmp_path):
    policy = write_policy(tmp_path / "policy")
    assert command(model=str(policy), rounds=1)[0] == 0
    write_base(policy, seed=7)
    assert "(its first policy's weights were others): set another out" in command(model=str(policy), rounds=1)[2]


def test_files_compose_and_keys_of_the_training_do_too(places, tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(values(*places, tmp_path / "out")))
    second.write_text("seed: 4\ntrain: {beta: 0.7}\n")
    config = load([str(first), str(second)])
    assert (config.seed, config.options.beta, config.options.batch_size) == (4, 0.7, 2)
    second.write_text("train: {beta: much}\n")
    with pytest.raises(UserError, match=rf"^{second}: train: beta = 'much' must be a number"):
        load([str(first), str(second)])
    second.write_text("rounds: 3\n")
    with pytest.raises(UserError, match=rf"{second} has no effect"):
        load([str(second), str(first)])
