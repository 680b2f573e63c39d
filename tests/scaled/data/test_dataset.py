"""What a configuration names as data: read, filtered, mixed, and split so that held-out prompts are held out."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tiny_tokenizers import tiny_tokenizer

from inspo.command_line import UserError
from scaled.config import DataOptions, load
from scaled.data import dataset
from scaled.data.records import load_records

TOKENIZER = tiny_tokenizer(["a"], vocab_size=1)


def rows(count, pairs=1, name="p"):
    return [
        {"prompt": f"{name} {n}", "chosen": f"A {pair}", "rejected": "B"} for pair in range(pairs) for n in range(count)
    ]


def write(path, some):
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return str(path)


def records_of(options, key="data", seed=0):
    left_out: dataset.LeftOut = {}
    parts = dataset.read(options, key, left_out)
    return dataset.filtered(options, key, parts, TOKENIZER, left_out, seed), left_out


def options(**values):
    return DataOptions.model_validate(values)


def test_no_held_out_prompt_is_trained_on():
    """Case 25: 20 prompts of 5 pairs each; pairs are counted, at least as many as asked for."""
    records = load_records(rows(20, pairs=5))
    for size, expected in ((20, 20), (21, 25), (1, 5), (0, 0)):
        train, validation = dataset.split(records, size, seed=3)
        assert (len(train), len(validation)) == (100 - expected, expected)
        assert not {dataset.prompt_of(r) for r in train} & {dataset.prompt_of(r) for r in validation}
        assert sorted(map(id, (*train, *validation))) == sorted(map(id, records))
    assert dataset.split(records, 20, seed=3) == dataset.split(records, 20, seed=3)
    assert dataset.split(records, 20, seed=3) != dataset.split(records, 20, seed=4)


def test_prompts_that_differ_by_spaces_are_the_same():
    records = load_records([{"prompt": text, "chosen": "A", "rejected": "B"} for text in ("Hi  you", "Hi you\n", "Ho")])
    assert [len(part) for part in dataset.split(records, 2, seed=0)] in ([1, 2], [2, 1])
    assert len({dataset.prompt_of(record) for record in records}) == 2


def test_one_prompt_cannot_be_split():
    with pytest.raises(ValueError, match="validation_size = 2 leaves nothing of 10 records with 1 prompts to train on"):
        dataset.split(load_records(rows(1, pairs=10)), 2, seed=0)


def test_prompts_of_an_own_validation_source_that_are_trained_on_are_counted(caplog):
    three, four, others = (
        [dataset.prompt_of(record) for record in load_records(some)]
        for some in (rows(3), rows(4, pairs=2), rows(3, name="q"))
    )
    dataset.warn_of_shared_prompts(three, four)
    assert caplog.messages == ["validation: 6 of 8 records have a prompt that is trained on"]
    caplog.clear()
    dataset.warn_of_shared_prompts(three, others)
    assert not caplog.messages


@pytest.mark.parametrize("filters", ["none", "unusable"])
def test_limit_counts_the_records_that_can_be_trained_on(tmp_path, filters):
    """REAL_MODEL's fault 12: what the filters and ties leave out does not count."""
    some = rows(9)
    some[0]["preference"] = 0.5
    if filters == "unusable":
        some[1]["chosen"] = ""
    path = write(tmp_path / "a.jsonl", some)
    found, _ = records_of(options(data=path, limit=3, filters=filters))
    assert len(found) == 3
    scored = [{**row, "score_chosen": n % 2, "score_rejected": 0} for n, row in enumerate(rows(9))]
    for row in scored:
        row["chosen"] = "a" * 40
    found, left_out = records_of(options(data=write(tmp_path / "b.jsonl", scored), limit=3, filters="paper"))
    assert [record["record"] for record in found] == ["b.jsonl:2", "b.jsonl:4", "b.jsonl:6"]
    assert left_out["data"]["margin"] == 5


def test_sources_are_mixed_by_weight_exactly_and_evenly(tmp_path, caplog):
    one, two = write(tmp_path / "one.jsonl", rows(8)), write(tmp_path / "two.jsonl", rows(40))
    mixture = options(data=[{"path": one, "weight": 2.5}, {"path": two, "weight": 0.25}])
    found, _ = records_of(mixture)
    counts = Counter(record["record"] for record in found)
    assert Counter(times for name, times in counts.items() if name.startswith("one")) == {2: 4, 3: 4}
    assert Counter(times for name, times in counts.items() if name.startswith("two")) == {1: 10}
    assert caplog.messages[-1] == "data: 20 records of one.jsonl, 10 records of two.jsonl"
    for start in range(0, 30, 3):  # two of one to each of two, everywhere
        names = sorted(record["record"].partition(".")[0] for record in found[start : start + 3])
        assert names == ["one", "one", "two"]
    assert records_of(mixture)[0] == found
    assert records_of(mixture, seed=1)[0] != found
    with pytest.raises(ValueError, match=r"weight = 0.01 takes none of 8 records: raise it"):
        records_of(options(data={"path": one, "weight": 0.01}))


def test_filters_see_all_sources_and_leave_the_weights_to_what_they_keep(tmp_path):
    scored = [
        {**row, "score_chosen": 2, "score_rejected": 0, "chosen": f"{row['prompt']} {'a' * 40}"} for row in rows(8)
    ]
    one, two = write(tmp_path / "one.jsonl", scored), write(tmp_path / "two.jsonl", scored)
    found, left_out = records_of(options(data=[{"path": one, "weight": 2}, {"path": two}], filters="paper"))
    assert left_out["data"]["duplicate"] == 8
    assert len(found) == 16


def test_each_key_has_its_own_split_columns_and_mistakes(tmp_path):
    from datasets import Dataset, DatasetDict

    table = Dataset.from_list([{"q": "Q", "good": "A", "bad": str(n)} for n in range(4)])
    DatasetDict(train=table, test=table.select([0])).save_to_disk(tmp_path / "saved")
    both = options(
        data=str(tmp_path / "saved"),
        validation=str(tmp_path / "saved"),
        columns={"prompt": "q", "chosen": "good", "rejected": "bad"},
    )
    assert [len(records_of(both, key)[0]) for key in ("data", "validation")] == [4, 1]
    own = {"path": str(tmp_path / "saved"), "columns": {"prompt": "q", "chosen": "bad", "rejected": "good"}}
    assert records_of(options(data=own, columns={"prompt": "nowhere"}))[0][0]["rejected"][0]["content"] == "A"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data", "", "data: path = '' must be"),
        ("data", 7, "data: 7 must be a file, a folder, a name on the hub, or a mapping with a path"),
        ("data", [], "data: the list of sources is empty"),
        ("data", [["a"]], "data: ['a'] must be a file"),
        ("data", {"split": "train"}, "data: {'split': 'train'} has no path"),
        ("data", {"path": "a", "splitt": "train"}, "data: unknown key 'splitt'; did you mean split?"),
        ("data", {"path": "a", "weight": 0}, "data: weight = 0 must be greater than 0"),
        ("data", {"path": "a", "weight": "much"}, "data: weight = 'much' must be a number"),
        ("data", {"path": "a", "split": 3}, "data: split = 3 must be text or null"),
        ("data", {"path": "a", "columns": {"promt": "q"}}, "unknown key 'promt'; did you mean prompt?"),
        ("validation", [{"path": 3}], "validation: path = 3 must be text"),
        ("columns", ["a"], "columns = ['a'] must be a mapping such as"),
        ("columns", {"prompt": 3}, "columns: prompt = 3 must be the name of a column"),
        ("columns", {"prompt": "q", "chosen": "q"}, "columns: q can be read as one thing only"),
    ],
)
def test_a_mistake_in_a_source_is_one_line(key, value, said):
    with pytest.raises(UserError) as error:
        load([], [f"{key}={json.dumps(value)}", "architecture=tiny-llama"])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sources_are_written_as_one_would_write_them():
    config = load([], ["architecture=tiny-llama", "data=a.jsonl", "validation={path: o/n, split: test}"])
    assert config.resolved()["data"] == "a.jsonl"
    assert config.resolved()["validation"] == {"path": "o/n", "split": "test"}
    assert config.resolved()["columns"] == {}
    assert config.named("validation") == "o/n, split test"
    several = load([], ["architecture=tiny-llama", "data=[a.jsonl, {path: o/n, weight: 0.5, revision: v1}]"])
    assert several.resolved()["data"] == ["a.jsonl", {"path": "o/n", "revision": "v1", "weight": 0.5}]
    assert several.named("data") == "a.jsonl, o/n, revision v1"
    assert load([], ["architecture=tiny-llama", f"data={json.dumps(several.resolved()['data'])}"]).data == several.data
