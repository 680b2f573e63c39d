"""The ledger: what counts as done, and what is named and left out."""

import json
from dataclasses import replace
from itertools import product

import pytest

from experiments.language.cells import Cell
from experiments.ledger import Ledger, Result, expected_seconds, of_facts, within

CELL = Cell("dpo", "symmetric", {"beta": 0.1}, cycle=3.0, seed=1, pairs=4000)
RESULT = Result(CELL, [{"kl": 1.5, "value": 0.6}], 12.0, {"command": "python -m experiments run"})


@pytest.fixture
def book(tmp_path):
    return Ledger(tmp_path, 7, Cell)


def test_a_result_comes_back(book, tmp_path):
    assert book.missing([CELL]) == [CELL]
    book.write(RESULT)
    assert book.all() == ([RESULT], [])
    assert book.missing([CELL, replace(CELL, seed=2), replace(CELL, seed=2)]) == [replace(CELL, seed=2)]
    assert [path.name for path in tmp_path.iterdir()] == [f"{CELL.key()}.json"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:-40], "line"),
        (lambda text: text.replace('"version": 7', '"version": 6'), "is of version 6 of the code, which is at 7 now"),
        (lambda text: text.replace('"seed": 1', '"seed": 2'), "is the result of dpo-symmetric-B0-cycle3-seed2"),
        (lambda text: text.replace('"method"', '"methods"'), "missing or unknown: method, methods"),
        (lambda text: text.replace('"dpo"', '"ppo"'), "method = 'ppo' must be one of"),
        (lambda text: text.replace('"seconds"', '"minutes"'), "has no 'seconds'"),
        (lambda _: "[]", "list indices"),
        (lambda text: json.dumps(json.loads(text) | {"points": []}), "holds no numbers"),
    ],
)
def test_what_does_not_count_is_named(book, damage, says):
    path = book.write(RESULT)
    path.write_text(damage(path.read_text()))
    found, (refused,) = book.all()
    assert found == []
    assert refused.startswith(f"{path.name}: ")
    assert says in refused
    assert book.missing([CELL]) == [CELL]


def test_a_key_tells_cells_apart_and_is_the_same_tomorrow():
    cells = [
        replace(CELL, method=method, cycle=cycle, reference=kind, epochs=epochs, seed=seed)
        for method, cycle, kind, epochs, seed in product(("dpo", "ipo"), (0.0, 3.0), "AB", (1.0, 2.0), range(3))
    ]
    assert len({cell.key() for cell in cells}) == len(cells) == 48
    assert CELL.key() == "dpo-symmetric-B0-cycle3-seed1-7f888df4"
    assert of_facts(Cell, json.loads(json.dumps(CELL.__dict__))) == CELL


def test_cells_that_share_data_say_so():
    assert CELL.data() == replace(CELL, method="ipo", hyperparameters={}, conditioning="none", epochs=1).data()
    assert CELL.data() != replace(CELL, seed=2).data()


def test_what_is_unknown_or_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"conditioning = 'both' must be one of none, .*, anchored, unrelated"):
        replace(CELL, conditioning="both")
    with pytest.raises(ValueError, match="method = 'reward' has conditioning none, not symmetric"):
        replace(CELL, method="reward")


def test_time_is_kept_by_what_cells_took():
    """8000 pair-epochs took 12 s: 4000 take 6; of another method the same, where nothing better is known."""
    assert expected_seconds(replace(CELL, epochs=1.0), [RESULT], 99) == pytest.approx(6)
    assert expected_seconds(replace(CELL, method="ipo"), [RESULT], 99) == pytest.approx(12)
    assert expected_seconds(CELL, [], 99) == 99
    seconds = iter([0, 0, 50, 95])
    cells = [replace(CELL, seed=seed) for seed in range(5)]
    assert list(within(cells, 100, lambda _: 10, lambda: next(seconds))) == cells[:2]
