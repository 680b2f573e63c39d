"""``python -m scaled.data prepare``: the pairs that training would make, on disk, whatever stops it on the way."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import weights
from tiny_base import ROOT, SMALL, TINY, small, write_base

from inspo.command_line import UserError
from scaled.config import TrainConfig
from scaled.data import shards
from scaled.data.__main__ import main
from scaled.data.prepared import FORMAT
from scaled.data.safety import text_digest
from scaled.run.prepare import prepare_run
from scaled.run.prepare_data import prepare_data
from scaled.run.run import run

REAL = ROOT.parent / "shared" / "data" / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz"
HELD_OUT = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base", seed=0)


@pytest.fixture
def config(base, tmp_path):
    """A configuration that trains the small model on some data."""

    def make(**changes) -> TrainConfig:
        return small(tmp_path / "out", **({"model": str(base), "validation_size": HELD_OUT} | changes))

    return make


def kept(folder: Path) -> dict[str, bytes]:
    """The files of a folder of prepared data, without the lock's."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (".lock", ".owner")
    }


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def assert_same(config: TrainConfig, folder: Path) -> None:
    """Prepared data are the pairs, in order, that the configuration makes of its records."""
    raw, stored = prepare_run(config), prepare_run(config.model_copy(update=load_data(folder)))
    for side in ("train", "validation"):
        one, other = getattr(raw, side), getattr(stored, side)
        assert list(one.pairs) == list(other.pairs)
        assert one.lengths == other.lengths
        assert one.fingerprint == other.fingerprint
        assert {k: v for k, v in one.counts.items() if v} == {k: v for k, v in other.counts.items() if v}
    assert raw.left_out == stored.left_out
    assert raw.plan == stored.plan


def load_data(folder: Path) -> dict:
    """The data keys of a run on prepared data."""
    default = TrainConfig(**(SMALL | {"data": str(folder)}))
    names = ("data", "validation", "validation_size", "limit", "filters", "columns", "soft_labels")
    return {name: getattr(default, name) for name in names}


# --- the same as training makes


def test_it_is_what_training_would_make(config, tmp_path):
    """Two sources mixed by weight, of which one is read in shards; some pairs are cut, some dropped."""
    rows = [json.loads(line) for line in TINY.read_text().splitlines()]
    for row in rows[:3]:
        row["preference"] = 0.5
    one, two = write(tmp_path / "one.jsonl", rows[:300]), write(tmp_path / "two.jsonl", rows[250:])
    changes = {
        "data": [{"path": str(one), "weight": 1.5}, {"path": str(two), "weight": 0.5}],
        "filters": {"min_margin": None, "min_tokens": 9, "max_tokens": 30},
        "limit": 500,
        "max_length": 40,
        "over_length": "cut_prompt,cut_responses,drop",
    }
    chosen = config(**changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scaled.data.preparation.ROWS", 64)
        patch.setattr("scaled.data.preparation.PAIRS", 100)
        said = prepare_data(chosen, tmp_path / "made")
    assert said.startswith("4")
    assert len(list((tmp_path / "made").glob("train-*.arrow"))) == 5
    assert_same(chosen, tmp_path / "made")
    facts = json.loads((tmp_path / "made" / "prepared.json").read_text())
    assert facts["left_out"]["data"]["duplicate"] >= 50
    assert facts["left_out"]["data"]["ties"] == 3


@pytest.mark.parametrize("limit", [None, 40])
def test_a_limit_is_where_training_has_it(config, tmp_path, limit, monkeypatch):
    """Nothing behind it is looked at, be it broken, though it is in the same shard."""
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:80]]
    rows[2]["chosen"] = ""
    if limit:
        rows[60]["rejected"] = ""
    monkeypatch.setattr("scaled.data.preparation.ROWS", 50)
    chosen = config(data=str(write(tmp_path / "a.jsonl", rows)), limit=limit, filters="unusable")
    prepare_data(chosen, tmp_path / "made", max_bad=1)
    assert_same(chosen, tmp_path / "made")
    assert json.loads((tmp_path / "made" / "prepared.json").read_text())["left_out"]["data"]["empty"] == 1


def test_validation_of_its_own(config, tmp_path, caplog):
    lines = TINY.read_text().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("".join(lines[:60]))
    (tmp_path / "b.jsonl").write_text("".join(lines[50:70]))
    chosen = config(data=str(tmp_path / "a.jsonl"), validation=str(tmp_path / "b.jsonl"))
    prepare_data(chosen, tmp_path / "made")
    assert "of 20 records have a prompt that is trained on" in caplog.text
    assert_same(chosen, tmp_path / "made")


def test_kto_meets_the_same_mismatched_responses(config, tmp_path):
    changes = {"method": "kto", "max_length": 44, "over_length": "drop", "limit": 60}
    prepare_data(config(**changes), tmp_path / "made")
    chosen = config(**changes)
    raw = prepare_run(chosen).train.mismatched
    stored = prepare_run(chosen.model_copy(update=load_data(tmp_path / "made"))).train.mismatched
    assert list(raw.pairs) == list(stored.pairs)
    assert len(raw.pairs) == 16


def test_training_from_it_gives_the_same_weights(tmp_path):
    """On the shipped data with a tokenizer that is trained on them, which the folder keeps."""
    chosen = small(tmp_path / "raw", limit=40, validation_size=8, max_updates=2)
    prepare_data(chosen, tmp_path / "made")
    run(chosen)
    run(small(tmp_path / "stored", data=str(tmp_path / "made"), max_updates=2))
    assert torch.equal(weights(tmp_path / "raw"), weights(tmp_path / "stored"))
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("raw", "stored")]
    for name in ("data_fingerprint", "validation_fingerprint", "records_left_out", "pairs"):
        assert records[0][name] == records[1][name]


@pytest.mark.skipif(not REAL.is_file(), reason="the folder shared/data is not beside this checkout")
@pytest.mark.slow
def test_real_pairs_are_the_same_however_often_and_by_however_many(config, tmp_path):
    with gzip.open(REAL, "rt") as file:
        (tmp_path / "real.jsonl").write_text("".join(next(file) for _ in range(2000)))
    chosen = config(data=str(tmp_path / "real.jsonl"), filters="unusable", max_length=None, draft_cap=None)
    prepare_data(chosen, tmp_path / "one")
    prepare_data(chosen, tmp_path / "two", processes=2)
    assert kept(tmp_path / "one") == kept(tmp_path / "two")
    facts = json.loads((tmp_path / "one" / "prepared.json").read_text())
    assert facts["rows"] == 2000
    assert facts["train"]["pairs"] + facts["validation"]["pairs"] + sum(facts["left_out"]["data"].values()) == 2000
    assert facts["validation"]["pairs"] >= HELD_OUT


# --- kills


def command(data: Path, base: Path, out: Path, processes: int) -> list[str]:
    settings = {"data": data, "model": base, "filters": "unusable", "validation_size": HELD_OUT}
    given = [f"--set={name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "scaled.data", "prepare", *given, "--out", str(out), "--processes", str(processes)]


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "moments"), [(1, (1, 4)), (2, (3,))])
def test_a_kill_at_any_moment_and_a_second_start_end_with_the_same_bytes(base, tmp_path, processes, moments):
    """Killed when there are so many shards; no process is left behind."""
    data = write(tmp_path / "a.jsonl", [json.loads(line) for line in TINY.read_text().splitlines()] * 8)
    whole = tmp_path / "whole"
    assert main(command(data, base, whole, 1)[3:]) == 0
    out = tmp_path / "killed"
    for shards_there in moments:
        started = subprocess.Popen(command(data, base, out, processes), cwd=ROOT, start_new_session=True)
        while started.poll() is None and len(list(out.glob(".shards-*/data-0-*.arrow"))) < shards_there:
            time.sleep(0.005)
        started.kill()
        started.wait()
        assert not (out / "prepared.json").exists()
        deadline = time.monotonic() + 20
        while processes > 1 and alive(started.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(started.pid)
    assert main(command(data, base, out, 1)[3:]) == 0
    assert kept(out) == kept(whole)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_a_kill_while_copying_leaves_is_written_again(config, tmp_path, monkeypatch):
    chosen = config(data=str(TINY), filters="unusable")
    prepare_data(chosen, tmp_path / "whole")
    monkeypatch.setattr("scaled.data.preparation.fingerprint", lambda _pairs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_data(chosen, tmp_path / "killed")
    monkeypatch.undo()
    (file,) = (tmp_path / "killed").glob("train-*.arrow")
    file.write_bytes(b"half")
    file.with_name("train-00001.arrow").write_bytes(b"of a longer one")
    made = []
    monkeypatch.setattr(shards.store, "write", spying(shards.store.write, made))
    prepare_data(chosen, tmp_path / "killed")
    assert not [path for path in made if path.name.startswith("data-")]  # shards were there
    assert kept(tmp_path / "killed") == kept(tmp_path / "whole")


def spying(function, seen):
    def spied(path, table):
        seen.append(path)
        return function(path, table)

    return spied


def test_a_finished_folder_is_left_alone_and_another_one_is_refused(config, tmp_path):
    prepare_data(config(), tmp_path / "made")
    before = kept(tmp_path / "made")
    assert prepare_data(config(), tmp_path / "made").startswith("606 pairs to train on and 34 to")
    assert kept(tmp_path / "made") == before
    with pytest.raises(UserError, match=r"holds data prepared otherwise .*limit was None.*: name another folder"):
        prepare_data(config(limit=20), tmp_path / "made")
    with pytest.raises(UserError, match="are prepared already: name what they are made from"):
        prepare_data(config(data=str(tmp_path / "made"), validation_size=1000), tmp_path / "other")


# --- D.2


def test_each_step_counts_what_is_planted(config, tmp_path):
    """Of 60 records 4 are duplicates, 5 too short or long, 3 unsafe, 6 too close and 2 broken, in this order."""
    rows = [
        {
            "prompt": f"Say {n}.",
            "chosen": f"word {n} " * 20,
            "rejected": f"no {n} " * 20,
            "score_chosen": 2.0,
            "score_rejected": 0.0,
        }
        for n in range(60)
    ]
    for n in range(4):
        rows[n + 1] = dict(rows[0])
    for n in range(10, 13):
        rows[n] |= {"chosen": f"a {n}", "rejected": "b"}
    for n in range(13, 15):
        rows[n]["rejected"] = "long " * 900
    unsafe = [20, 21, 22]
    for n in range(30, 36):
        rows[n] |= {"score_chosen": 0.3}  # sigma(.3) = .574 < .6
    rows[2] |= {"score_chosen": 0.3}  # a duplicate already
    rows[10] |= {"score_chosen": 0.3}  # too short already
    rows[40]["chosen"], rows[41]["rejected"] = "", rows[41]["chosen"]
    verdicts = tmp_path / "verdicts.jsonl"
    lines = [
        {
            "digest": text_digest([{"role": "user", "content": row["prompt"]}], row[reply]),
            "safe": n not in unsafe or reply == "chosen",
        }
        for n, row in enumerate(rows)
        for reply in ("chosen", "rejected")
    ]
    write(verdicts, lines)
    data = write(tmp_path / "a.jsonl", rows)
    options = {"safety": {"verdicts": str(verdicts)}, "max_tokens": 800}
    chosen = config(data=str(data), filters=options, max_length=None, draft_cap=None)
    said = prepare_data(chosen, tmp_path / "made", max_bad=0.1)
    assert "60 records were read; left out: empty 1, equal 1, duplicate 4, length 5, unsafe 3, margin 6; " in said
    facts = json.loads((tmp_path / "made" / "prepared.json").read_text())
    found = facts["left_out"]["data"]
    assert {name: count for name, count in found.items() if count} == {
        "duplicate": 4,
        "length": 5,
        "unsafe": 3,
        "margin": 6,
        "empty": 1,
        "equal": 1,
    }
    assert facts["train"]["pairs"] + facts["validation"]["pairs"] == 40
    assert facts["examples"]["unsafe"][0] == "record a.jsonl:21: its rejected response is unsafe"
    assert facts["examples"]["margin"][0] == "record a.jsonl:31: its margin is 0.574"
    assert all(len(said) <= 3 for said in facts["examples"].values())
    assert_same(chosen, tmp_path / "made")


def test_the_margin_can_be_the_gap_of_the_scores(config, tmp_path):
    rows = [
        {"prompt": f"Say {n}.", "chosen": f"word {n}", "rejected": "no", "score_chosen": n / 10, "score_rejected": 0}
        for n in range(40)
    ]
    data = write(tmp_path / "a.jsonl", rows)
    counts = {}
    for margin in ("probability", "gap"):
        chosen = config(data=str(data), filters={"min_tokens": 0, "margin": margin})
        prepare_data(chosen, tmp_path / margin)
        facts = json.loads((tmp_path / margin / "prepared.json").read_text())
        counts[margin] = facts["left_out"]["data"]["margin"]
    assert counts == {"probability": 5, "gap": 6}  # sigma(.4) < .6 < sigma(.5); .5 < .6 <= .6


def test_a_classifier_says_what_is_unsafe(config, base, tmp_path):
    """A tiny sequence classifier whose head is set so that it says 0.95 of everything."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    about = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=0, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=512, id2label={0: "fine", 1: "harmful"},
        label2id={"fine": 0, "harmful": 1},
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(about)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 3.0]))
    model.save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    given = {"classifier": str(tmp_path / "classifier"), "unsafe": "harmful"}
    steps = {"duplicates": False, "max_tokens": None, "min_tokens": 0, "min_margin": None}
    with pytest.raises(UserError, match=r"no record passes the filters; dropped: {'unsafe': 20}"):
        prepare_data(config(limit=None, data=str(few(tmp_path)), filters={**steps, "safety": given}), tmp_path / "all")
    none = {**steps, "safety": {**given, "threshold": 0.99}}
    prepare_data(config(data=str(few(tmp_path)), filters=none), tmp_path / "none")
    wrong = {**steps, "safety": {**given, "unsafe": "bad"}}
    with pytest.raises(UserError, match=r"unsafe = bad: .* has the labels fine, harmful"):
        prepare_data(config(data=str(few(tmp_path)), filters=wrong), tmp_path / "wrong")


def few(folder: Path) -> Path:
    file = folder / "few.jsonl"
    file.write_text("".join(TINY.read_text().splitlines(keepends=True)[:20]))
    return file


# --- bad input


BAD = {
    "broken JSON": '{"prompt": "Q", "chosen"',
    "missing role": json.dumps({"prompt": [{"content": "Q"}], "chosen": "A", "rejected": "B"}),
    "empty conversation": json.dumps({"prompt": [], "chosen": "A", "rejected": "B"}),
    "last turn": json.dumps({"prompt": "Q", "chosen": [{"role": "user", "content": "A"}], "rejected": "B"}),
    "equal": json.dumps({"prompt": "Q", "chosen": "A", "rejected": "A"}),
    "not text": json.dumps({"prompt": "Q", "chosen": [{"role": "assistant", "content": [{"type": "image"}]}],
                            "rejected": "B"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_named_and_counted_and_many_stop_it(config, tmp_path, kind, caplog):
    good = TINY.read_text().splitlines()[:120]
    data = tmp_path / "a.jsonl"
    data.write_text("\n".join([*good[:7], BAD[kind], *good[7:]]))
    chosen = config(data=str(data), filters="unusable")
    prepare_data(chosen, tmp_path / "made")
    assert "1 records left out as" in caplog.text
    assert "a.jsonl: record 8: " in caplog.text
    assert json.loads((tmp_path / "made" / "prepared.json").read_text())["bad"] == 1
    with pytest.raises(UserError, match=r"^1 of 121 records cannot be .*record 8: .*; mend them, or filters=unusable"):
        prepare_data(config(data=str(data)), tmp_path / "strict")
    data.write_text("\n".join([*good[:7], BAD[kind], *good[7:90]]))
    with pytest.raises(UserError, match=r"^1 of 91 .* a share of 0.01 may be so: .*record 8.*--max-bad 0.011 allows"):
        prepare_data(chosen, tmp_path / "many")
    prepare_data(chosen, tmp_path / "many", max_bad=0.02)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
        ({"data": "a/" * 2100}, "cannot be read: File name too long"),
        ({"data": "{path: o/n, split: test}"}, "o/n: "),
        ({"filters": "{margin: ratio}"}, "filters: margin = 'ratio' must be one of probability, gap"),
        ({"filters": "{safety: {classifier: x}}"}, "a classifier goes with unsafe"),
        ({"filters": "{min_margins: 1}"}, "filters: unknown key 'min_margins'; did you mean min_margin?"),
        ({"filters": "{safety: {verdicts: nowhere}}"}, "verdicts = nowhere: cannot be read"),
        ({"filters": "paper"}, "needs the columns score_chosen and score_rejected"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(base, tmp_path, capsys, monkeypatch, settings, said):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    given = [f"--set={name}={value}" for name, value in ({"model": base, "data": TINY} | settings).items()]
    assert main(["prepare", *given, "--out", str(tmp_path / "made"), "--processes", "1"]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert said in error


# --- a run on it


def test_a_run_on_it_must_make_the_same_tokens(config, tmp_path):
    prepare_data(config(limit=40), tmp_path / "made")
    on = {"data": str(tmp_path / "made"), "validation_size": 1000}
    assert len(prepare_run(config(**on)).train) == 34
    other = write_base(tmp_path / "other", seed=0, data=few(tmp_path))
    for changes, said in (
        ({"model": str(other)}, "was prepared with another tokenizer, of "),
        ({"template": "chatml"}, 'template = "chatml": .* was prepared with "tokenizer": set template to that'),
        ({"chat_template_kwargs": {"x": 1}}, 'chat_template_kwargs = {"x": 1}: '),
        ({"filters": "paper"}, 'filters = "paper": .* was prepared with "none": leave filters out'),
        ({"limit": 30}, "limit = 30: .* was prepared with 40: leave limit out"),
        ({"data": [{"path": on["data"], "weight": 2}]}, "name the folder alone"),
    ):
        with pytest.raises(UserError, match=said):
            prepare_run(config(**(on | changes)))
    assert len(prepare_run(config(**(on | {"limit": 40, "seed": 5}))).train) == 34


def test_damaged_files_are_refused(config, tmp_path):
    prepare_data(config(limit=40), tmp_path / "made")
    on = config(data=str(tmp_path / "made"), validation_size=1000)
    (file,) = (tmp_path / "made").glob("train-*.arrow")
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(UserError, match=r"train-00000.arrow is changed since it was prepared: put it back"):
        prepare_run(on)
    file.unlink()
    with pytest.raises(UserError, match=r"train-00000.arrow is gone since it was prepared"):
        prepare_run(on)
    file.write_bytes(whole)
    facts = tmp_path / "made" / "prepared.json"
    text = facts.read_text()
    for damage in (text[:-9], "[]", text.replace(f'"format": {FORMAT}', '"format": 0')):
        facts.write_text(damage)
        with pytest.raises(UserError, match=r"prepared.json is not as it was written .*: prepare the data again"):
            prepare_run(on)


# --- memory


MEASURE = """
import sys
from pathlib import Path
from scaled.config import load
from scaled.run.prepare import prepare_run
from scaled.run.prepare_data import prepare_data

def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1024

out = Path(sys.argv[1])
for data in sys.argv[2:5]:
    made = out / Path(data).stem
    prepare_data(load([], [f"data={data}", *sys.argv[5:]]), made)
    prepared = anonymous()
    ready = prepare_run(load([], [f"data={made}", *sys.argv[5:]]))
    ready.train.lengths
    print(prepared, anonymous())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_records(base, tmp_path):
    """6000 records more: at most 16 MiB more in either; a list of their pairs takes some 40. The first is a warm-up."""
    draw = random.Random(0)  # noqa: S311  # the same texts every time
    words = [str(draw.random())[2:10] for _ in range(500)]
    files = []
    for count in (2000, 2001, 8000):
        rows = [
            {"prompt": f"{n} " + " ".join(draw.choices(words, k=20)), "chosen": " ".join(draw.choices(words, k=20)),
             "rejected": " ".join(draw.choices(words, k=20))} for n in range(count)
        ]  # fmt: skip
        files.append(str(write(tmp_path / f"{count}.jsonl", rows)))
    settings = [f"model={base}", "filters=unusable", "max_length=null", "draft_cap=null"]
    # Or what allocators keep for later would count, 50 MiB now and then.
    allocators = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), *files, *settings],
        cwd=ROOT, env=os.environ | allocators, capture_output=True, text=True, check=True,
    )  # fmt: skip
    _, few, many = (list(map(float, line.split())) for line in done.stdout.splitlines())
    assert many[0] - few[0] < 16, done.stdout
    assert many[1] - few[1] < 16
