"""Tables as runs: complete against the paper's cells, each command one that is taken, nothing done twice."""

import json
import os
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from tiny_base import ROOT, TINY

from inspo.command_line import UserError
from paper_figures import measured, printed
from scaled.config import load
from scaled.evaluation import results
from scaled.reproduce import costs, launch, values
from scaled.reproduce.__main__ import main
from scaled.reproduce.recipes import BASES
from scaled.reproduce.steps import GPUS, Choices, Step, steps
from scaled.reproduce.tables import SCORES, TABLES, cells

CHOICES = Choices(Path("results"), Path("copies"))


@pytest.fixture(autouse=True)
def _in_the_checkout_of_a_machine_with_nothing(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize("number", TABLES)
def test_every_cell_of_the_paper_and_no_other(number):
    assert len(cells(number)) == len(set(cells(number)))
    assert set(cells(number)) == set(printed.read(number).cells)


@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize("number", SCORES)
def test_every_cell_has_its_steps_and_every_step_those_that_it_waits_for(number, search):
    found = {step.name: step for step in steps(number, replace(CHOICES, search=search))}
    for model, run in SCORES[number].rows:
        for scoring in SCORES[number].scorings:
            score = found[f"score {model}/{run} {scoring.benchmark} by {scoring.judge}"]
            chain, seen = [score], {score.kind}
            while chain:
                step = chain.pop()
                chain += [found[name] for name in step.after]
                seen |= {each.kind for each in chain}
            expected = {"generate", "judge", "score"} | (set() if run == "instruct" else {"train"})
            by_search = search and values.searched(run) is not None
            assert seen == expected | ({"questions", "choose"} if by_search else set())
    order = list(found)
    assert all(order.index(name) < order.index(step.name) for step in found.values() for name in step.after)


def test_trainings_are_counted_right():
    """Of Table 2: 25 points of five grids with INS and without, four baselines, two models."""
    trainings = [step for step in steps(2, CHOICES) if step.kind == "train"]
    assert len(trainings) == 2 * (2 * (4 + 9 + 3 + 6 + 3) + 4)
    hours = [len(trainings) * 4 * each for each in costs.PAPER_HOURS]
    page = " ".join((ROOT / "docs" / "reproduce.md").read_text().split())
    assert f"Table 2 is {len(trainings)} trainings, by D.6 {hours[0]} to {hours[1]} GPU hours" in page
    assert sum(step.kind == "train" for step in steps(3, CHOICES)) == 4 + 11
    assert sum(step.kind == "train" for step in steps(4, replace(CHOICES, search=False))) == 8


def options(command: tuple[str, ...], name: str) -> list[str]:
    return [value for key, value in pairwise(command) if key == f"--{name}"]


def test_every_training_is_a_configuration_of_its_own(tmp_path):
    """With D.1's chosen values in place, where they are read from a file."""
    choices = replace(CHOICES, out=tmp_path)
    hashes = []
    for step in {step.name: step for number in SCORES for step in steps(number, choices)}.values():
        if step.kind == "train":
            files = options(step.command, "config")
            for chosen in (Path(file) for file in files if file.endswith("chosen.yaml")):
                chosen.parent.mkdir(parents=True, exist_ok=True)
                chosen.write_text("beta: 0.35\n")
            config = load(files, options(step.command, "set"))
            hashes.append(config.hash())
            if files[-1].endswith("chosen.yaml"):
                assert config.beta == 0.35
    assert len(set(hashes)) == len(hashes)


def test_every_evaluation_is_a_command(monkeypatch):
    taken = []
    for name in ("generate", "judge", "score"):
        monkeypatch.setattr(f"scaled.evaluation.commands.{name}.run", lambda options: taken.append(options) or "")
    from scaled.evaluation.__main__ import main as evaluate

    commands = {
        step.command[3:] for number in SCORES for step in steps(number, CHOICES) if "evaluation" in step.command[2:3][0]
    }
    sample = [command for command in sorted(commands) if "llama-3-8b" in " ".join(command)][::7]
    assert len(sample) > 30
    assert all(evaluate(command) == 0 for command in sample)
    assert len(taken) == len(sample)


def row(out: Path, model: str, run: str, metrics: dict[str, str]) -> None:
    path = out / "eval" / model / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"model": model, "run": run, "seed": 0, "config_hash": "5f"}
    entries = [{"metric": name, "value": 40.0, "se": 1.0, "n": 805, "judge": judge} for name, judge in metrics.items()]
    path.write_text(json.dumps(facts | {"metrics": entries}))


def test_a_row_that_paper_figures_reads_is_done(tmp_path, capsys):
    choices = replace(CHOICES, out=tmp_path)
    turbo = "gpt-4-1106-preview"
    row(tmp_path, "llama-3-8b", "dpo", dict.fromkeys(["alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr"], turbo))
    row(tmp_path, "mistral-7b", "dpo", dict.fromkeys(["alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr"], "another"))
    assert len(measured.load(tmp_path)) == 6
    todo = {step.name for step in steps(4, choices) if not step.done()}
    assert not any("llama-3-8b/dpo" in name for name in todo)
    assert "score mistral-7b/dpo arena_hard by gpt-4-1106-preview" in todo
    assert main(["--table", "4", "--out", str(tmp_path), "--only", "llama-3-8b/dpo"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Table 4: 24 cells, 6 steps, 6 of them done")
    assert "missing here:\n  nothing" in said


@pytest.mark.parametrize("number", TABLES)
def test_the_dry_run_says_what_is_wanted_missing_and_spent(number, capsys, tmp_path):
    assert main(["--table", str(number), "--dry-run", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Table {number}: {len(cells(number))} cells, ")
    assert "  GPUs: " in said
    assert "GPU hours unknown" in said
    if number in SCORES:
        for text in (
            "OPENAI_API_KEY",
            "  copy: ",
            "question.jsonl",
            "trainings of llama-3-8b: ",
            "by D.6, 8 to 12 hours on 4 A100",
            "805 requests, tokens unknown",
            "dollars unknown without --prices",
            "difficulty\n  of an instruction exists for AlpacaEval's 805 alone",
        ):
            assert text in said, text
        for step in steps(number, replace(CHOICES, out=tmp_path, copies=Path("benchmarks/copies"))):
            assert shlex.join(step.command) in said


def test_a_judges_tokens_are_counted_from_the_copy():
    copy = ROOT / "scaled" / "examples" / "evaluation"
    asked = costs.asked("pairwise", copy)
    assert asked.requests == 24
    assert 24 * 100 < asked.prompt_tokens < 24 * 400
    assert asked.answer_tokens == 24 * 1024
    assert asked.dollars((10.0, 30.0)) == (asked.prompt_tokens / 1e5, pytest.approx(24 * 1024 * 3e-5))


def test_a_finished_training_says_what_the_next_costs(tmp_path):
    place = tmp_path / "train" / "llama-3-8b" / "dpo"
    place.mkdir(parents=True)
    (place / "run.json").write_text(json.dumps({"training_seconds": 7200.0, "world_size": 4}))
    choices = replace(CHOICES, out=tmp_path)
    assert costs.training_hours(choices, "llama-3-8b")[:2] == (8.0, 8.0)
    assert costs.training_hours(choices, "mistral-7b")[:2] == (32, 48)
    for other in ({"hardware": "one-80gb"}, {"configs": ("scaled/configs/adapter/lora.yaml",)}):
        assert costs.training_hours(replace(choices, **other), "mistral-7b") is None


def test_a_search_is_done_once_its_best_point_is_chosen(tmp_path):
    choices = replace(CHOICES, out=tmp_path, only=("llama-3-8b/ins-simpo",))
    place = tmp_path / "search" / "llama-3-8b"
    before = {step.kind for step in steps(2, choices) if step.done()}
    (place / "questions").mkdir(parents=True)
    (place / "questions" / "prompts.jsonl").touch()
    (place / "ins-simpo").mkdir()
    (place / "ins-simpo" / "chosen.yaml").write_text("beta: 2.0\ngamma: 1.5\n")
    todo = [step.name for step in steps(2, choices) if not step.done()]
    assert not before
    assert len(todo) == 3 + 3 + 5
    assert all(name.split()[1] == "llama-3-8b/ins-simpo" for name in todo), "what is left are the row's own cells"


def test_a_training_is_done_where_it_ended_with_this_configuration(tmp_path):
    choices = replace(CHOICES, out=tmp_path, search=False)
    (train,) = (each for each in steps(4, choices) if each.name == "train llama-3-8b/dpo")
    place = tmp_path / "train" / "llama-3-8b" / "dpo"
    place.mkdir(parents=True)
    config = load(options(train.command, "config"), options(train.command, "set"))
    for found, done in (({}, False), ({"config_hash": "5f"}, False), ({"config_hash": config.hash()}, True)):
        (place / "run.json").write_text(json.dumps(found))
        assert train.done() is done
    lora = replace(choices, hardware="one-80gb", configs=("scaled/configs/adapter/lora.yaml",))
    (other,) = (each for each in steps(4, lora) if each.name == "train llama-3-8b/dpo")
    assert not other.done()
    assert load(options(other.command, "config"), options(other.command, "set")).lora_rank == 16
    assert (train.gpus, other.gpus) == (4, 1)
    assert {path.stem for path in (ROOT / "scaled" / "configs" / "hardware").glob("*.yaml")} == set(GPUS)


def test_mt_benchs_tokens_are_without_answers(tmp_path):
    question = {"question_id": 1, "category": "writing", "turns": ["Write.", "Again."]}
    (tmp_path / "question.jsonl").write_text(json.dumps(question) + "\n")
    assert costs.asked("mt_bench", tmp_path) == costs.Asked(160), "without the judge's prompts nothing is known"
    both = costs.Asked(2, 10, 20) + costs.Asked(3, 1, 2, answered=False)
    assert both == costs.Asked(5, 11, 22, answered=False)
    assert both.shown().startswith("5 requests, without the model's answers about 11 tokens of prompts")
    assert costs.Asked(2, 10, 20) + costs.Asked(3) == costs.Asked(5)


# Launching


def step(place: Path, name: str, *after: str, fails: bool = False, gpus: int = 0) -> Step:
    code = f"open({str(place / name)!r}, 'a').write('.')"
    command = ("python", "-c", "import sys; sys.exit(3)" if fails else code)
    return Step("train", name, command, (place / name).is_file, after, gpus)


def test_local_steps_end_at_a_failure_and_go_on_from_there(tmp_path):
    with pytest.raises(UserError, match=r"^b: ended with 3; the same command goes on from here$"):
        launch.local([step(tmp_path, "a"), step(tmp_path, "b", "a", fails=True), step(tmp_path, "c", "b")])
    launch.local([step(tmp_path, name) for name in "abc"])
    assert [(tmp_path / name).read_text() for name in "abc"] == [".", ".", "."]


def test_jobs_of_slurm_wait_for_those_that_they_need(tmp_path, monkeypatch):
    wanted = [step(tmp_path, "a"), step(tmp_path, "b", "a", gpus=4), step(tmp_path, "c", "a", "b", "done long ago")]
    with monkeypatch.context() as without:
        without.setattr(launch.shutil, "which", lambda _: None)
        said = launch.slurm(wanted, tmp_path / "jobs")
    assert said == f"3 jobs, not submitted since there is no sbatch here: bash {tmp_path}/jobs/submit.sh"
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    log = tmp_path / "log"
    sbatch.write_text(f'#!/bin/bash\necho "$@" >> {log}\nwc -l < {log}\nbash "${{@: -1}}" >&2\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    assert launch.slurm(wanted, tmp_path / "jobs") == "submitted 3 jobs"
    first, second, third = log.read_text().splitlines()
    assert "--dependency" not in first
    assert "--dependency=afterok:1 --kill-on-invalid-dep=yes" in second
    assert "--dependency=afterok:1:2 " in third
    assert [(tmp_path / name).read_text() for name in "abc"] == [".", ".", "."], "each job does its work when it is run"
    assert "#SBATCH --gpus-per-node=4" in (tmp_path / "jobs" / "001-b.sh").read_text()
    assert launch.slurm(wanted, tmp_path / "jobs") == "submitted 0 jobs"


# Hyperparameters


def test_questions_are_the_validation_records(tmp_path, base):
    config = {"model": str(base), "data": str(TINY), "validation_size": 20, "zero_stage": 0}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    arguments = ["questions", "--config", str(tmp_path / "my.yaml"), "--set", "validation_size=30"]
    assert values.main([*arguments, "--out", str(tmp_path / "q")]) == 0
    prompts, answers = (
        [json.loads(line) for line in (tmp_path / "q" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("prompts", "baseline")
    )
    assert len(prompts) >= 30
    assert [each["id"] for each in prompts] == [each["id"] for each in answers]
    records = [json.loads(line) for line in TINY.read_text().splitlines()]
    pairs = {(record["prompt"], record["chosen"]) for record in records}
    assert {(one["prompt"], other["output"]) for one, other in zip(prompts, answers, strict=True)} <= pairs


def test_the_point_that_wins_most_is_chosen_and_linked(tmp_path, capsys):
    rates = {"beta-0.1_alpha-0.5": 40.0, "beta-0.2_alpha-0.1": 55.5, "beta-0.2_alpha-0.5": 55.5}
    assert set(rates) < set(values.points("r-dpo"))
    arguments = [
        "choose",
        str(tmp_path / "search"),
        *rates,
        "--judge",
        "j",
        "--link",
        str(tmp_path / "train" / "r-dpo"),
    ]
    assert values.main(arguments) == 2
    assert "has no win rate" in capsys.readouterr().err
    for name, rate in rates.items():
        path = tmp_path / "search" / name / "eval" / "scores" / "pairwise--j.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"numbers": [{"metric": "pairwise_wr", "value": rate}]}))
    for _ in range(2):
        assert values.main(arguments) == 0
    assert yaml.safe_load((tmp_path / "search" / "chosen.yaml").read_text()) == {"beta": 0.2, "alpha": 0.1}
    assert (tmp_path / "train" / "r-dpo").resolve() == tmp_path / "search" / "beta-0.2_alpha-0.1"


# What is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "7", "--launch", "local"], "--launch local: GPUs: 1 wanted, 0 here"),
        (["--table", "4", "--launch", "slurm"], "--launch slurm: copy: benchmarks/copies/alpaca_eval: has no"),
        (["--table", "6"], "invalid choice: 6"),
        (["--table", "2", "--only", "llama-3-8b/dop"], "--only llama-3-8b/dop: Table 2 has mistral-7b/instruct"),
        (["--table", "7", "--only", "llama-3-8b/dpo"], "--only is for rows of Tables 2 to 4"),
        (["--table", "2", "--data", "mine"], "--data mine: must be one of ultrafeedback, ultrafeedback-llama-3"),
        (["--table", "2", "--scale", "tiny"], "--scale tiny has Table 4 alone, not 2"),
        (["--table", "4", "--scale", "tiny", "--judge", "j"], "--judge is for --scale paper"),
        (["--table", "4", "--scale", "tiny", "--launch", "slurm"], "--scale tiny runs on this machine"),
        (["--table", "4", "--dry-run", "--launch", "local"], "not allowed with argument"),
    ],
)
def test_mistakes_are_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_elsewhere_it_says_where_to_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--table", "4"]) == 2
    assert "start in the folder of the checkout" in capsys.readouterr().err


def test_a_judge_of_ones_own_fills_the_columns_that_are_not_another_judges():
    judged = {
        step.name.rpartition(" by ")[2] for step in steps(2, replace(CHOICES, judge="llama")) if step.kind == "judge"
    }
    assert judged == {"llama"}
    names = [step.name for step in steps(2, replace(CHOICES, judge="gpt-4o-mini")) if step.kind == "score"]
    assert sum("mt_bench" in name for name in names) == len(SCORES[2].rows)
    assert tuple(BASES) == results.MODELS
