"""The plan of exact updates: what every update holds, for all packings and ranks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaled.data.plan import epoch_stream, make_plan, validation_slots

LENGTHS = st.lists(st.integers(1, 50), min_size=24, max_size=60)


@given(lengths=LENGTHS, ranks=st.sampled_from([1, 2, 3, 4]), row=st.integers(150, 400), seed=st.integers(0, 99))
def test_every_update_holds_its_pairs_once_whatever_the_rows_and_ranks(lengths, ranks, row, seed):
    stream = epoch_stream(len(lengths), 2, seed)
    plan = make_plan(lengths, stream, world_size=ranks, batch_size=12, row_tokens=row)
    assert plan.left_out == len(stream) - 12 * len(plan.updates) < 12
    for index, update in enumerate(plan.updates):
        assert len(update) == ranks * plan.accumulation
        placed = sorted(zip(*[sum((slot[part] for slot in update), ()) for part in (0, 1)], strict=True))
        assert placed == list(enumerate(stream[12 * index : 12 * index + 12]))
        for slot in update:
            assert slot.pairs
            assert sum(lengths[pair] for pair in slot.pairs) <= row


@given(pairs=st.integers(1, 40), epochs=st.floats(0.1, 4), seed=st.integers(0, 9))
def test_each_epoch_of_the_stream_is_a_permutation(pairs, epochs, seed):
    stream = epoch_stream(pairs, epochs, seed)
    assert len(stream) == round(epochs * pairs)
    for start in range(0, len(stream) - pairs + 1, pairs):
        assert sorted(stream[start : start + pairs]) == list(range(pairs))


def test_an_epochs_remainder_opens_the_next_ones_first_update():
    """5 pairs, 2 epochs, batches of 4: 0123 | 4012 and 34 are left out."""
    plan = make_plan([1] * 5, epoch_stream(5, 2, 0, shuffle=False), world_size=1, batch_size=4, micro_batch=4)
    assert [slot.pairs for slot in plan.slots] == [(0, 1, 2, 3), (4, 0, 1, 2)]
    assert plan.left_out == 2


def test_slots_are_dealt_to_ranks_in_turn():
    plan = make_plan([1] * 8, list(range(8)), world_size=2, batch_size=8, micro_batch=2)
    assert plan.accumulation == 2
    assert [slot.pairs for slot in plan.slots] == [(0, 1), (2, 3), (4, 5), (6, 7)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"world_size": 3, "batch_size": 8, "micro_batch": 2}, "not a multiple of 3 ranks x micro_batch = 2"),
        ({"world_size": 5, "batch_size": 4, "row_tokens": 9}, "4 pairs cannot fill 5 rows"),
        ({"world_size": 1, "batch_size": 16}, "8 pairs in all epochs are fewer than one update"),
        (
            {"world_size": 1, "batch_size": 8, "row_tokens": 2},
            "row_tokens = 2 is less than the largest pair's 3 tokens",
        ),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(options, said):
    with pytest.raises(ValueError, match=said):
        make_plan([3] * 8, list(range(8)), **options)


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), ranks=st.integers(1, 4), packed=st.booleans())
def test_validation_scores_every_pair_on_equally_many_rows(lengths, ranks, packed):
    slots = validation_slots(lengths, world_size=ranks, micro_batch=3, row_tokens=60 if packed else None)
    assert len(slots) % ranks == 0
    assert {pair for slot in slots for pair in slot.pairs} == set(range(len(lengths)))
