"""Trainings under the real ``deepspeed`` launcher: exactness, and surviving what happens to processes.

Eight launches in all, each of many trainings where it can be.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from tiny_base import ROOT, SMALL

from scaled.training import checkpoints
from scaled.training.journal import TIMES, read

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PATIENCE = 300  # seconds; far more than a launch takes, on a machine that others use too
COMMON: dict[str, Any] = SMALL | {"limit": 80, "validation_size": 16, "batch_size": 16}


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def launcher(ranks: int, *command: str) -> list[str]:
    binary = Path(sys.executable).parent / "deepspeed"
    return [str(binary), "--num_gpus", str(ranks), "--master_port", str(free_ports(1)[0]), *command]


def environment() -> dict[str, str]:
    own = str(Path(sys.executable).parent)  # the launcher starts "python3"
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return inherited | {"PATH": f"{own}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def launch(ranks: int, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        launcher(ranks, *command), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def numbers(out: Path) -> list[dict]:
    """The journal without times."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in read(out / "metrics.jsonl")]


def weights(out: Path) -> torch.Tensor:
    state = load_file(out / "model" / "model.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state)])


# --- exactness


VARIANTS = {
    "ddp-packed": {"zero_stage": 0, "row_tokens": 300},
    "ddp-single": {"zero_stage": 0, "micro_batch": 1},
    "zero2-packed": {"zero_stage": 2, "row_tokens": 300},
    "zero2-single-checkpointing": {"zero_stage": 2, "micro_batch": 1, "gradient_checkpointing": True},
    "zero3-packed-checkpointing": {"zero_stage": 3, "row_tokens": 300, "gradient_checkpointing": True},
    "zero3-single": {"zero_stage": 3, "micro_batch": 1},
}
# Validation rows of one pair, an odd number of them: on two ranks one is scored twice.
KTO = {"method": "kto", "kl_group": 8, "beta": 0.1, "zero_stage": 3, "micro_batch": 1, "learning_rate": 3e-4}
KTO |= {"validation_size": 15}
BF16 = {"precision": "bf16", "row_tokens": 300, "learning_rate": 1e-3, "reference": "conditioned", "epochs": 4}
LORA = {"lora_rank": 4, "zero_stage": 3, "row_tokens": 300, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory) -> Path:
    """Two launches: every variant on one rank and on two."""
    root = tmp_path_factory.mktemp("cells")
    for ranks in (1, 2):
        extra = {"kto": KTO, "lora": LORA}
        if ranks == 2:
            extra |= {f"bf16-zero{stage}": BF16 | {"zero_stage": stage} for stage in (1, 2, 3)}
        cells = [
            COMMON | {"max_updates": 4, "epochs": 2} | values | {"out": str(root / f"{name}-{ranks}")}
            for name, values in (VARIANTS | extra).items()
        ]
        file = root / f"cells-{ranks}.json"
        file.write_text(json.dumps(cells))
        done = launch(ranks, str(HERE / "launched_cells.py"), str(file))
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return root


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ranks_zero_packing_and_checkpointing_do_not_change_the_trajectory(trajectories, variant, ranks):
    reference, other = trajectories / "ddp-packed-1", trajectories / f"{variant}-{ranks}"
    expected, found = numbers(reference), numbers(other)
    assert [line["update"] for line in found] == [line["update"] for line in expected]
    for theirs, ours in zip(expected, found, strict=True):
        for name in ("loss", "grad_norm", "learning_rate"):
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
        for name in ("margin", "plain_margin", "chosen_logps", "rejected_logps"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-4)
    difference = weights(other) - weights(reference)
    assert difference.norm() <= 1e-5 * weights(reference).norm()


@pytest.mark.parametrize("name", ["kto", "lora"])
def test_kto_and_lora_do_not_depend_on_ranks(trajectories, name):
    one, two = (numbers(trajectories / f"{name}-{ranks}") for ranks in (1, 2))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert one[-1]["margin"] > one[0]["margin"] + 1


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bf16_learns_under_deepspeed(trajectories, stage):
    """Beginning at its reference, which it equals bit by bit."""
    lines = numbers(trajectories / f"bf16-zero{stage}-2")
    assert lines[0]["margin"] == lines[0]["chosen_logratio"] == 0
    assert lines[-1]["margin"] > 5


def test_the_trained_folder_generates(trajectories):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = trajectories / "zero3-packed-checkpointing-2" / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name three birds."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    made = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert inputs["input_ids"].shape[1] < made.shape[1]
    card = (folder / "README.md").read_text()
    record = json.loads((folder.parent / "run.json").read_text())
    for fact in ("**dpo**", "**symmetric**", record["config_hash"], record["data_fingerprint"][:16]):
        assert fact in card
    assert record["versions"]["torch"] == torch.__version__
    assert record["git_revision"] == "unknown" or len(record["git_revision"].partition("+")[0]) == 40


def test_a_lora_adapter_merges(trajectories):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = trajectories / "lora-2"
    base = AutoModelForCausalLM.from_pretrained(run / "base")
    tokens = torch.arange(40).view(1, -1) + 300
    plain = base(tokens).logits
    adapted = PeftModel.from_pretrained(base, run / "adapter")(tokens).logits
    merged = AutoModelForCausalLM.from_pretrained(run / "model")(tokens).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (merged - plain).abs().max() > 0.01


def assert_same_to_1e_6(run: Path, unbroken: Path) -> None:
    """The same updates and validations, and metrics and weights within 1e-6."""
    ours, theirs = numbers(run), numbers(unbroken)
    assert [(line["update"], line["kind"]) for line in ours] == [(line["update"], line["kind"]) for line in theirs]
    for name in ("loss", "margin", "chosen_logps", "grad_norm"):
        expected = [line[name] for line in theirs if name in line]
        assert [line[name] for line in ours if name in line] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert (weights(run) - weights(unbroken)).abs().max() <= 1e-6


# --- one rank, disturbed at every kind of moment


MOMENTS = random.Random(7)  # noqa: S311  # moments, not secrets
CASES: list[dict[str, Any]] = [
    {"name": "whole", "at": "nothing", "when": 0},
    *({"name": f"micro-step-{n}", "at": "micro-step", "when": n} for n in sorted(MOMENTS.sample(range(1, 18), 3))),
    *(
        {"name": at.replace(" ", "-"), "at": at, "when": MOMENTS.randint(1, 3)}
        for at in ("weights saved", "optimizer saved", "manifest", "journal", "SIGTERM")
    ),
    {"name": "pruning", "at": "pruning", "when": 1},
    {"name": "not-a-number", "at": "not a number", "when": 10},
    {"name": "full-disk", "at": "full disk", "when": 2},
    {"name": "cut", "at": "micro-step", "when": 15, "damage": "cut"},
    {"name": "corrupted", "at": "micro-step", "when": 15, "damage": "corrupt"},
]
SURVIVED = [case["name"] for case in CASES if case["name"] != "whole"]


def survive(ranks: int, root: Path, config: dict[str, Any], cases: list[dict[str, Any]]) -> list[dict[str, dict]]:
    """Launch the cases; by rank and case, how its two processes ended."""
    file = root / "cases.json"
    plan = {"config": config, "root": str(root), "ports": free_ports(2 * len(cases)), "cases": cases}
    file.write_text(json.dumps(plan))
    done = launch(ranks, str(HERE / "launched_kills.py"), str(file))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return [json.loads((root / f"codes-{rank}.json").read_text()) for rank in range(ranks)]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    """One launch: every case, each disturbed and then started again. 6 updates of 3 micro-steps."""
    root = tmp_path_factory.mktemp("kills")
    config = COMMON | {
        "zero_stage": 2,
        "row_tokens": 300,
        "max_updates": 6,
        "epochs": 2,
        "save_every": 1,
        "validate_every": 2,
    }
    return root, survive(1, root, config, CASES)[0]


@pytest.mark.parametrize("name", SURVIVED)
def test_a_disturbed_run_goes_on_to_the_same_bits(disturbed, name):
    root, codes = disturbed
    log = (root / f"{name}.log").read_text()
    assert codes[name]["second"] == 0, log[-3000:]
    assert numbers(root / name) == numbers(root / "whole")
    assert torch.equal(weights(root / name), weights(root / "whole"))


def test_cases_were_disturbed_as_meant(disturbed):
    _, codes = disturbed
    ends = {name: code["first"] for name, code in codes.items()}
    clean = {"whole", "SIGTERM"}
    failed = {"not-a-number", "full-disk"}
    assert {name for name, code in ends.items() if code == 0} == clean
    assert {name for name, code in ends.items() if code == 1} == failed
    assert {name for name, code in ends.items() if code == -signal.SIGKILL} == set(ends) - clean - failed


def test_sigterm_saves_and_says_so(disturbed):
    root, codes = disturbed
    log = (root / "SIGTERM.log").read_text()
    assert "stopped (SIGTERM) after update" in log
    assert codes["SIGTERM"]["left"]


def test_not_a_number_stops_with_the_records_saved(disturbed):
    root, codes = disturbed
    (saved,) = (root / "not-a-number").glob("nonfinite-*.json")
    offenders = json.loads(saved.read_text())
    assert str(saved) in (root / "not-a-number.log").read_text()
    assert offenders["records"]
    assert offenders["records"][0]["record"].startswith("tiny.jsonl:")
    assert offenders["records"][0]["loss"] == "nan"
    assert codes["not-a-number"]["left"]


def test_a_full_disk_loses_no_earlier_checkpoint(disturbed):
    root, codes = disturbed
    assert codes["full-disk"]["left"] == ["checkpoint-1"]
    assert "checkpoint-2 could not be written" in (root / "full-disk.log").read_text()


@pytest.mark.parametrize(("name", "wrong"), [("cut", "bytes of"), ("corrupted", "has a corrupted")])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(disturbed, name, wrong):
    root, codes = disturbed
    latest, previous = codes[name]["left"][:2]
    log = (root / f"{name}.log").read_text()
    assert f"{latest} {'has ' if name == 'cut' else ''}" in log
    assert wrong in log
    assert f"going on from {previous}" in log


# --- two ranks, one of them killed at every kind of moment


PAIR_CASES: list[dict[str, Any]] = [
    {"name": "whole", "at": "nothing", "when": 0},
    {"name": "micro-step", "at": "micro-step", "when": MOMENTS.randint(4, 9), "rank": 1},
    {"name": "weights-saved", "at": "weights saved", "when": MOMENTS.randint(1, 3), "rank": 1},
    {"name": "optimizer-saved", "at": "optimizer saved", "when": MOMENTS.randint(2, 4), "rank": 0},
    {"name": "manifest", "at": "manifest", "when": MOMENTS.randint(1, 3), "rank": 0},
]


@pytest.fixture(scope="module")
def killed_pairs(tmp_path_factory) -> tuple[Path, list[dict[str, dict]]]:
    """One launch of two ranks: in every case one is killed, the other notices, and both start again."""
    root = tmp_path_factory.mktemp("pairs")
    config = COMMON | {"zero_stage": 2, "row_tokens": 300, "max_updates": 6, "epochs": 2, "save_every": 1}
    return root, survive(2, root, config | {"validate_every": 2}, PAIR_CASES)


@pytest.mark.parametrize("case", PAIR_CASES[1:], ids=lambda case: case["name"])
def test_two_ranks_survive_the_death_of_one(killed_pairs, case):
    root, ranks = killed_pairs
    name, killed = case["name"], case["rank"]
    log = (root / f"{name}.log").read_text()
    assert ranks[killed][name]["first"] == -signal.SIGKILL
    assert ranks[1 - killed][name]["first"] == 1
    assert [codes[name]["second"] for codes in ranks] == [0, 0], log[-3000:]
    assert_same_to_1e_6(root / name, root / "whole")


# --- two ranks and the launcher's processes


RUN = COMMON | {
    "zero_stage": 3,
    "row_tokens": 300,
    "max_updates": 24,
    "epochs": 8,
    "save_every": 3,
    "validate_every": 6,
}


def settings(out: Path) -> list[str]:
    return [
        part for name, value in (RUN | {"out": str(out)}).items() for part in ("--set", f"{name}={json.dumps(value)}")
    ]


def updates_written(out: Path) -> int:
    journal = out / "metrics.jsonl"
    return max((line["update"] for line in read(journal)), default=0) if journal.exists() else 0


@contextmanager
def started(out: Path) -> Iterator[subprocess.Popen]:
    """The command on two ranks; whatever is left of it afterwards is killed."""
    command = launcher(2, "scaled/train.py", *settings(out))
    with (out.parent / f"{out.name}.log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for each in [*family, process]:
            each.kill()
        process.wait()


def wait_for_update(out: Path, update: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while updates_written(out) < update:
        assert process.poll() is None, (out.parent / f"{out.name}.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen) -> list[psutil.Process]:
    family = psutil.Process(process.pid).children(recursive=True)
    ours = [child for child in family if any(part.endswith("scaled/train.py") for part in child.cmdline()[:3])]
    return sorted(ours, key=lambda child: child.pid)


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> dict[str, Any]:
    """Three launches of one run: a rank is killed; the launcher is told to stop; it ends. And one unbroken."""
    root = tmp_path_factory.mktemp("story")
    out = root / "run"
    log = root / "run.log"
    told: dict[str, Any] = {"out": out, "whole": root / "whole"}

    with started(out) as process:
        wait_for_update(out, 5, process)
        ranks = ranks_of(process)
        ranks[1].kill()
        told["code after kill"] = process.wait(timeout=PATIENCE)
        told["survivors"] = psutil.wait_procs(ranks, timeout=5)[1]
    told["log of kill"] = log.read_text()

    with started(out) as process:
        wait_for_update(out, 10, process)
        ranks = ranks_of(process)
        process.terminate()
        process.wait(timeout=PATIENCE)
        told["left after SIGTERM"] = psutil.wait_procs(ranks, timeout=PATIENCE)[1]
    told["log of SIGTERM"] = log.read_text()[len(told["log of kill"]) :]
    told["checkpoint after SIGTERM"] = checkpoints.latest(out)[0]

    with started(out) as process:
        told["last code"] = process.wait(timeout=PATIENCE)
    told["log"] = log.read_text()
    with started(told["whole"]) as process:
        assert process.wait(timeout=PATIENCE) == 0
    return told


def test_a_killed_rank_brings_all_down_with_one_readable_message(story):
    assert story["code after kill"] != 0
    assert story["survivors"] == []
    assert story["log of kill"].count("error: rank 0: another rank was lost") == 1
    assert "Traceback" not in story["log of kill"]


def test_a_terminated_launcher_ends_its_ranks_cleanly(story):
    assert story["left after SIGTERM"] == []
    assert "stopped (" in story["log of SIGTERM"]
    update = checkpoints.update_of(story["checkpoint after SIGTERM"])
    assert update >= 10
    assert f"saved as checkpoint-{update}" in story["log of SIGTERM"]


def test_two_ranks_go_on_to_the_same_numbers(story):
    assert story["last code"] == 0, story["log"][-3000:]
    assert_same_to_1e_6(story["out"], story["whole"])
