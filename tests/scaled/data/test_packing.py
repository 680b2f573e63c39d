"""Pairs of one prompt in one tree: which pairs share a row, how large it is, and in which order prompts come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from scaled.data import packing
from scaled.data.examples import PLAIN, Layout, make_examples
from scaled.data.packing import pack_pairs
from scaled.data.plan import epoch_stream, make_plan, validation_slots

PROMPTS, REPLIES, ROW = 6, 6, 220


@st.composite
def data_sets(draw):
    """Pairs of a few prompts, each of two of some responses, some of which start alike."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    prompts = [[number, *rng.integers(10, 14, rng.integers(1, 25))] for number in range(PROMPTS)]
    replies = [[[*rng.integers(20, 22, rng.integers(1, 15)), 30 + reply] for reply in range(REPLIES)] for _ in prompts]
    pairs = []
    for number in range(draw(st.integers(24, 48))):
        prompt = int(rng.integers(PROMPTS))
        chosen, rejected = rng.choice(REPLIES, 2, replace=False)
        pairs.append(PreferencePair(prompts[prompt], replies[prompt][chosen], replies[prompt][rejected], number))
    conditioning = draw(st.sampled_from(list(Conditioning)))
    layout = Layout(tuple(dict.fromkeys((*conditioning.requests(), *PLAIN))), PLAIN)
    return make_examples(pairs, layout, "training")


@given(examples=data_sets(), ranks=st.sampled_from([1, 2, 4]), prompts=st.booleans(), seed=st.integers(0, 9))
def test_rows_hold_every_pair_once_and_never_more_than_fits(examples, ranks, prompts, seed):
    layout = examples.layout
    shared = examples.shared(layout.policy)
    stream = epoch_stream(len(examples), 2, seed, together=examples.prompts if prompts else None)
    options = {"world_size": ranks, "batch_size": 12, "row_tokens": ROW}
    plan = make_plan(examples.lengths, stream, shared, **options)
    alone = make_plan(examples.lengths, stream, **options)
    assert plan == make_plan(examples.lengths, stream, shared, **options)
    assert plan.accumulation <= alone.accumulation
    for index, (update, before) in enumerate(zip(plan.updates, alone.updates, strict=True)):
        placed = sorted(zip(*[sum((slot[part] for slot in update), ()) for part in (0, 1)], strict=True))
        assert placed == list(enumerate(stream[12 * index : 12 * index + 12]))
        sizes = [len(examples.row(slot.pairs, layout.policy)) for slot in update]
        assert sizes == [examples.row_length(slot.pairs) for slot in update]
        assert max(sizes) <= ROW
        if len(update) == len(before):
            alone_sizes = [sum(examples.lengths[pair] for pair in slot.pairs) for slot in before]
            assert waited(sizes, ranks) <= packing.EVEN * waited(alone_sizes, ranks)


def waited(sizes, ranks):
    """Tokens of each micro-step's fullest row."""
    return sum(max(sizes[start : start + ranks]) for start in range(0, len(sizes), ranks))


@given(examples=data_sets(), micro_batch=st.sampled_from([1, 3, 12]), packed=st.booleans())
def test_pairs_of_one_prompt_follow_each_other_in_a_row(examples, micro_batch, packed):
    shared = examples.shared(examples.layout.policy)
    slots = validation_slots(
        examples.lengths, shared, world_size=2, micro_batch=micro_batch, row_tokens=ROW if packed else None
    )
    assert {pair for slot in slots for pair in slot.pairs} == set(range(len(examples)))
    for slot in slots:
        prompts = examples.prompts[list(slot.pairs)]
        changes = int((np.diff(prompts) != 0).sum())
        assert changes == len(set(prompts.tolist())) - 1
        assert packed or len(slot.pairs) <= micro_batch


@given(examples=data_sets())
def test_a_prompt_is_in_one_row_where_its_tree_fits(examples):
    pairs = range(len(examples))
    rows = pack_pairs(pairs, examples.lengths, examples.shared(examples.layout.policy), 10**6)
    assert [sorted(row) for row in rows] == [list(pairs)]
    row = examples.row(rows[0], examples.layout.policy)
    assert [row.records[target.pair] for target in row.targets[:: len(examples.layout.policy)]] == rows[0]
    assert len(row.subtree_ends[row.positions == 0]) == len(set(examples.prompts.tolist()))


def test_a_pair_longer_than_a_row_has_one_of_its_own():
    assert pack_pairs([0, 1, 2], [5, 99, 5], None, 10) == [[0, 2], [1]]


@given(examples=data_sets(), epochs=st.integers(1, 3), seed=st.integers(0, 99))
def test_prompts_are_shuffled_whole(examples, epochs, seed):
    pairs = len(examples)
    stream = epoch_stream(pairs, epochs, seed, together=examples.prompts)
    assert stream == epoch_stream(pairs, epochs, seed, together=examples.prompts)
    for start in range(0, epochs * pairs, pairs):
        epoch = stream[start : start + pairs]
        assert sorted(epoch) == list(range(pairs))
        assert (np.diff(examples.prompts[epoch]) != 0).sum() == len(set(examples.prompts.tolist())) - 1


def test_a_prompt_of_many_pairs_comes_no_earlier_than_others():
    """Of 1 and 9 pairs, each is first in half of the epochs."""
    together = np.array([0] + [1] * 9)
    firsts = [epoch_stream(10, 1, seed, together=together)[0] for seed in range(400)]
    assert 140 < firsts.count(0) < 260


def test_a_prompt_is_cut_where_ranks_would_wait_for_it():
    """Eight pairs of one prompt on four ranks: two each, and not all on one."""
    pairs = [PreferencePair([1, 2], [10 + n], [30 + n]) for n in range(8)]
    examples = make_examples(pairs, Layout(PLAIN), "training")
    plan = make_plan(examples.lengths, range(8), examples.shared(PLAIN), world_size=4, batch_size=8, row_tokens=100)
    assert [slot.pairs for slot in plan.updates[0]] == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_a_prompt_stays_whole_where_micro_steps_are_shorter_so():
    """Two ranks, two micro-steps: whole, two pairs of one prompt have 28 tokens, and the steps last 28 + 10. Apart they
    have 16 each, so that no row is fuller than 26, but the steps last 26 + 16."""
    prompts, tokens = [0, 0, 1, 2, 3], [7, 7, 12, 4, 4]
    pairs = [
        PreferencePair([prompt, 5, 5, 5], [10 + place] * count, [30 + place] * count)
        for place, (prompt, count) in enumerate(zip(prompts, tokens, strict=True))
    ]
    examples = make_examples(pairs, Layout(PLAIN), "training")
    plan = make_plan(examples.lengths, range(5), examples.shared(PLAIN), world_size=2, batch_size=5, row_tokens=30)
    assert [examples.row_length(slot.pairs) for slot in plan.updates[0]] == [28, 26, 10, 10]


@pytest.mark.parametrize("row_tokens", [8, 16])
def test_a_prompt_is_cut_where_a_row_is_full(row_tokens):
    """A prompt of 4 and responses of 3 without their last tokens: 4 + 2 x 2 a pair, 4 more for another."""
    pairs = [PreferencePair([1, 2, 3, 4], [10 + n] * 3, [30 + n] * 3) for n in range(4)]
    examples = make_examples(pairs, Layout(PLAIN), "training")
    rows = pack_pairs(range(4), examples.lengths, examples.shared(PLAIN), row_tokens)
    assert [len(row) for row in rows] == ([1] * 4 if row_tokens == 8 else [3, 1])
    assert [len(examples.row(row, PLAIN)) for row in rows] == ([8] * 4 if row_tokens == 8 else [16, 8])
