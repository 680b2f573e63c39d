"""D.2's filters: what each one drops, and what it counts."""

from __future__ import annotations

import logging

import pytest
from tiny_tokenizers import tiny_tokenizer

from scaled.data.filters import Filters, filter_records
from scaled.data.records import load_records

NOTHING = Filters(duplicates=False, max_tokens=None, min_tokens=0, min_margin=None)


def rows(*replies, **columns):
    return load_records([{"prompt": "Q", "chosen": c, "rejected": r, **columns} for c, r in replies])


def names(records):
    return [record["record"] for record in records]


def test_each_step_is_counted_in_order_and_logged(caplog):
    """Five of seven records each fall to one step; tokens are bytes here, so lengths are characters."""
    tokenizer = tiny_tokenizer(["a"], vocab_size=1)
    data = rows(("c" * 9, "d"), ("c" * 9, "d"), ("e" * 99, "f"), ("g", "h"))
    data += rows(("bad" * 3, "i"), ("j" * 9, "k"), ("l" * 9, "m"))
    for number, record in enumerate(data):
        record["record"] = str(number)
        record["score_chosen"], record["score_rejected"] = (0.4 if number == 5 else 0.5), 0.0
    filters = Filters(max_tokens=50, min_tokens=5, is_safe=lambda _turns, reply: "bad" not in reply)
    with caplog.at_level(logging.INFO):
        kept, dropped = filter_records(data, filters, tokenizer)
    assert names(kept) == ["0", "6"]  # sigma(.4) = .599 < .6 < sigma(.5) = .622
    assert dropped == {"duplicate": 1, "length": 2, "unsafe": 1, "margin": 1}
    assert list(dropped) == ["duplicate", "length", "unsafe", "margin"]
    assert "filter length: 2 dropped, 4 kept" in caplog.text


def test_length_drops_either_too_long_and_both_too_short():
    """D.2: drop if either > most or both < least; the limits themselves stay."""
    tokenizer = tiny_tokenizer(["a"], vocab_size=1)
    data = rows(("a" * 6, "b"), ("a", "b" * 6), ("a" * 2, "b" * 3), ("a" * 5, "b"), ("a", "b" * 2))
    kept, _ = filter_records(data, Filters(max_tokens=5, min_tokens=3, min_margin=None), tokenizer)
    assert names(kept) == ["3", "4"]


def test_filters_that_are_off_do_nothing():
    data = rows(("a", "b"), ("a", "b"))
    kept, dropped = filter_records(data, NOTHING)
    assert kept == data
    assert dropped == {}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (Filters(min_margin=None), "give the policy's tokenizer"),
        (Filters(max_tokens=None, min_tokens=0), "^record 1: the margin filter needs score_chosen"),
    ],
)
def test_what_a_filter_needs(filters, message):
    with pytest.raises(ValueError, match=message):
        filter_records(rows(("a", "b")), filters)


def test_mistakes():
    with pytest.raises(ValueError, match=r"no record passes the filters; dropped: {'length': 1}"):
        filter_records(
            rows(("a", "b")), Filters(min_margin=None, duplicates=False), tiny_tokenizer(["a"], vocab_size=1)
        )
    with pytest.raises(ValueError, match="min_margin = 60"):
        Filters(min_margin=60)
    with pytest.raises(ValueError, match="min_tokens = 4096"):
        Filters(min_tokens=4096)


def test_a_classifier_decides_by_conversation_and_reply():
    data = rows(("a", "bad"), ("a", "b"))
    filters = Filters(False, None, 0, lambda turns, reply: bool(turns) and reply != "bad", None)
    assert names(filter_records(data, filters)[0]) == ["2"]
