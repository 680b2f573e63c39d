"""KTO's mismatched pairs: those that the limits leave nothing of are left out with their pairs, and counted."""

import logging

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.sequences import Limits
from scaled.data.examples import PLAIN, Layout, make_examples

# Responses that begin alike, as after a thinking block that the template writes into every reply.
ALIKE = PreferencePair([1, 2], [7, 7, 7, 3, 9], [7, 7, 7, 4, 9], record="alike", cuttable=(0, 0))
LONG = PreferencePair([1] * 7, [5, 9], [6, 9], record="long", cuttable=(0, 0))
SHORT = PreferencePair([2], [5, 9], [6, 9], record="short", cuttable=(0, 0))


def layout(max_length):
    limits = Limits(max_length=max_length, over_length=("drop",))
    return Layout(Conditioning.NONE.requests(), PLAIN, limits, mismatched=True)


def test_a_pair_whose_mismatched_responses_are_cut_to_the_same_is_left_out(caplog):
    """Behind the long prompt three tokens of the others' replies are left, in which these are equal."""
    with caplog.at_level(logging.WARNING):
        made = make_examples([LONG, ALIKE, SHORT], layout(10), "training")
    assert [pair.record for pair in made.pairs] == ["alike", "short"]
    assert made.counts["dropped_without_mismatch"] == 1
    assert "training pairs: dropped without mismatch 1" in caplog.text
    assert [pair.record for pair in made.mismatched.pairs] == ["alike", "short"]
    assert [(pair.prompt, pair.chosen) for pair in made.mismatched.pairs] == [
        (ALIKE.prompt, SHORT.chosen),
        (SHORT.prompt, LONG.chosen),
    ]


def test_pairs_that_all_fit_are_kept_and_none_is_counted():
    made = make_examples([LONG, ALIKE, SHORT], layout(12), "training")
    assert len(made) == len(made.mismatched) == 3
    assert made.counts["dropped_without_mismatch"] == 0
