"""Pairs that are not in memory: the same cuts, lengths and depths as of those that are; the same from disk."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import NO_SEPARATOR, Limits, Separator, fit
from scaled.data import store
from scaled.data.examples import PLAIN, Layout, make_examples
from scaled.data.pairs import InMemory, fitted
from scaled.data.tokens import fingerprint

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9)
"""Of so few kinds that responses begin alike, and one is the other's beginning."""


@st.composite
def pair(draw):
    prompt, chosen = draw(TOKENS), draw(TOKENS)
    rejected = draw(TOKENS.filter(lambda tokens: tokens != chosen))
    cuttable = draw(st.sampled_from([None, (0, 0), (0, len(prompt) // 2)]))
    return PreferencePair(prompt, chosen, rejected, draw(st.text(max_size=3)), draw(st.floats(0, 1)), cuttable)


PAIRS = st.lists(pair(), min_size=1, max_size=8)
LIMITS = st.builds(
    Limits,
    max_length=st.integers(6, 40),
    over_length=st.sampled_from([("cut_prompt", "drop"), ("cut_responses", "drop"), ("drop",)]),
    draft_cap=st.sampled_from([None, 0.2, 0.5]),
    over_cap=st.sampled_from(["cut", "drop"]),
)
SEPARATOR = st.sampled_from([NO_SEPARATOR, Separator((), (1, 2)), Separator((0,), (0,))])


@given(pairs=PAIRS, limits=LIMITS, separator=SEPARATOR, conditioning=st.sampled_from(Conditioning))
def test_what_is_cut_where_it_is_asked_for_is_what_is_cut_at_once(pairs, limits, separator, conditioning):
    """Pairs, counts, which are kept, and their sizes; lengths and depth are those of the trees."""
    requests = conditioning.requests()
    at_once = fit(pairs, requests, limits, separator=separator)
    later, kept, counts = fitted(InMemory(pairs), requests, limits, separator)
    assert tuple(later) == at_once.pairs
    assert counts == at_once.counts
    assert len(kept) == len(later)
    assert later.sizes.tolist() == [[len(p.prompt), len(p.chosen), len(p.rejected)] for p in at_once.pairs]
    assert fingerprint(later.all_tokens()) == fingerprint(at_once.pairs)
    examples = make_examples(pairs, Layout(requests, PLAIN, limits, separator), "training")
    cap = limits.draft_tokens
    own = [build_row([each], requests, separator=separator, draft_cap=cap) for each in at_once.pairs]
    assert examples.lengths == list(map(len, own))
    trees = [examples.tree(index) for index in range(len(examples))]
    assert examples.depth == max((int(tree.positions.max()) + 1 for tree in trees), default=0)


@given(pairs=PAIRS)
def test_from_disk_they_are_the_same(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    whole = [
        PreferencePair(p.prompt, p.chosen, p.rejected, p.record, p.preference, p.cuttable or (0, 0)) for p in pairs
    ]
    files = []
    for start in range(0, len(whole), 3):
        files.append(folder / f"{start}.arrow")
        rows = [store.row_of(each) for each in whole[start : start + 3]]
        store.write(files[-1], pa.Table.from_pylist(rows, schema=store.SCHEMA))
    stored = store.Stored(files)
    assert list(stored) == stored[:] == whole
    assert stored[-1] == whole[-1]
    assert np.array_equal(stored.sizes, InMemory(whole).sizes)
    assert fingerprint(stored.all_tokens()) == fingerprint(whole)
    with pytest.raises(IndexError):
        stored[len(whole)]
