"""From a model and a dataset in folders to a trained folder that generates, beside its base; the user's mistakes."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from datasets import Dataset, DatasetDict
from tiny_base import ROOT, TINY, small, write_base
from transformers import AutoTokenizer

from scaled.compare import Reply, main, prompts_of_file, prompts_of_run, summary, table
from scaled.run.prepare import prepare_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What docs/first_run.md says to do, with a local folder for the model and one for the data set of a hub."""
    root = tmp_path_factory.mktemp("path")
    write_base(root / "model", seed=3)
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:80]]
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(root / "pairs")
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "first_run.md").read_text(), re.DOTALL)
    values = yaml.safe_load(text)
    local = {"model": str(root / "model"), "data": str(root / "pairs"), "out": str(root / "run")}
    values |= local | {"validation_size": 12, "max_length": 128, "epochs": 1}
    (root / "my.yaml").write_text(yaml.safe_dump(values))
    done = command("scaled/train.py", "--config", str(root / "my.yaml"))
    assert done.returncode == 0, done.stderr
    return root


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_trained_run_is_compared_with_its_base_on_prompts_that_were_held_out(trained):
    done = command("-m", "scaled.compare", str(trained / "run"), "--limit", "3", "--max-tokens", "8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("prompt  ") == 3
    assert "trained  " in done.stdout
    written = (trained / "run" / "compare.md").read_text()
    assert written.startswith("| prompt | base | trained |")
    assert written.count("replies end within 8 tokens") == 2


def test_prompts_are_those_that_the_run_held_out_whatever_its_filters_left_out(tmp_path):
    base = write_base(tmp_path / "base", seed=3)
    rows = [
        {"prompt": f"Question {i}?", "chosen": f"A long answer, {i}. " * 12, "rejected": f"A worse one, {i}. " * 12}
        | {"score_chosen": float(i % 3), "score_rejected": 0.0}
        for i in range(60)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = small(
        tmp_path / "out", model=str(base), data=str(data), filters="paper", validation_size=6, max_length=400
    )
    validation = prepare_run(config).validation.pairs
    prompts = prompts_of_run(config, AutoTokenizer.from_pretrained(base), 60)
    kept = [rows[int(pair.record.rpartition(":")[2]) - 1]["prompt"] for pair in validation]
    assert 6 == len(kept) < 20
    assert [prompt[-1]["content"] for prompt in prompts] == kept


@pytest.mark.slow
def test_generation_repeats_itself_greedy_and_seeded(trained, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Name three birds.\n\nWhich tools do you know?\n")

    def said(*more: str) -> str:
        arguments = [str(trained / "run"), "--prompts", str(prompts), "--max-tokens", "6", *more]
        assert main(arguments) == 0
        return capsys.readouterr().out

    assert said() == said()
    assert said("--seed", "1") == said("--seed", "1") != said("--seed", "2")
    assert "prompt   Which tools do you know?" in said()


def test_a_folder_without_a_finished_run_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: holds no finished run: name the folder that out named, after the training has ended\n"
    )


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("\n \n", "there are no prompts"), (b"\xff", "UTF-8")]
)
def test_prompts_that_cannot_be_read_are_one_line(tmp_path, text, said):
    path = tmp_path / "prompts.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=said):
        prompts_of_file(path, 3)


@pytest.mark.parametrize("option", [["--limit", "0"], ["--max-tokens", "x"], ["--unknown"]])
def test_options_that_make_no_sense_are_one_line(tmp_path, capsys, option):
    assert main([str(tmp_path), *option]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_table_keeps_cells_apart_and_marks_what_was_cut_off():
    prompts = [[{"role": "user", "content": "a|b\nc"}]]
    base, trained = [Reply("on and", 8, ended=False)], [Reply("Yes.", 3, ended=True)]
    assert table(prompts, base, trained, 8).splitlines()[2] == "| a\\|b<br>c | on and ... | Yes. |"
    assert summary(base + trained, 8) == "1 of 2 replies end within 8 tokens; 5.5 tokens on average"
