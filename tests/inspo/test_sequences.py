"""The separator's forms, and what happens to pairs that are longer than their limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_cases import EOT, PAIR, PLAIN, SEPARATORS, cases, separate_sequence

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import Limits, Separator, fit


def test_separators_are_read_from_a_configuration():
    vocabulary = {"<sep>": 5, "7x": 8}
    assert Separator.parse("none") == Separator()
    assert Separator.parse("turn", header_tokens=[3, 4]) == Separator((), (3, 4))
    assert Separator.parse("token:<sep>", vocabulary.get) == Separator((5,), (5,))
    assert Separator.parse("token:7", vocabulary.get) == Separator((7,), (7,))
    assert Separator.parse("token:7x", vocabulary.get) == Separator((8,), (8,))


@pytest.mark.parametrize("text", ["", "newline", "token", "token:", "token:<pad>", "turn"])
def test_unreadable_separators_are_errors(text):
    with pytest.raises(ValueError, match="separator"):
        Separator.parse(text, {"<sep>": 5}.get)


def test_pairs_within_the_limits_are_left_alone():
    """The longest sequence, x y_l y_w, has 3 + 3 + 4 = 10 tokens."""
    fitted = fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=10, draft_cap=0.4))
    assert fitted.pairs == (PAIR,)
    assert not any(fitted.counts.values())
    assert fitted.dropped == ()


def test_a_response_after_itself_counts():
    """x y_w y_w has 3 + 4 + 4 = 11 tokens, one more than x y_l y_w; with y_w capped at 3 as context, 10."""
    anchored = Conditioning.ANCHORED
    assert fit([PAIR], anchored, Limits(max_length=11)).pairs == (PAIR,)
    assert fit([PAIR], anchored, Limits(max_length=10)).pairs[0].prompt == (11, 12)
    assert fit([PAIR], anchored, Limits(max_length=10, over_length=("drop",))).counts["dropped_over_length"] == 1
    cut = fit([PAIR], anchored, Limits(max_length=10, over_length=("cut_responses",)))
    assert cut.pairs == (replace(PAIR, chosen=(20, 21, 22)),)
    assert fit([PAIR], anchored, Limits(max_length=10, draft_cap=0.3)).pairs == (PAIR,)


def test_the_prompt_is_cut_from_the_left_within_the_part_that_may_be_cut():
    limits = Limits(max_length=9, over_length=("cut_prompt", "drop"))
    fitted = fit([PAIR], Conditioning.SYMMETRIC, limits)
    assert fitted.pairs[0].prompt == (11, 12)
    for part, left in (((1, 2), (10, 12)), ((1, 3), (10, 12)), ((0, 3), (11, 12))):
        cut = fit([replace(PAIR, cuttable=part)], Conditioning.SYMMETRIC, limits)
        assert cut.pairs[0].prompt == left
        assert cut.pairs[0].cuttable == (part[0], part[1] - 1)
        assert cut.counts["prompt_cut"] == 1
    for part in ((0, 0), (3, 3)):
        assert fit([replace(PAIR, cuttable=part)], Conditioning.SYMMETRIC, limits).counts["dropped_over_length"] == 1
    for part in ((-1, 2), (2, 1), (0, 4)):
        with pytest.raises(ValueError, match=r"record 17: cuttable = .* is no part of the prompt's 3 tokens"):
            replace(PAIR, cuttable=part)


def test_responses_are_cut_to_the_greatest_common_length():
    """Room for 9 - 3 = 6 tokens: both responses to 3. With 3 - 3 = 0 they would be empty: an error."""
    limits = Limits(max_length=9, over_length=("cut_responses",))
    fitted = fit([PAIR], Conditioning.SYMMETRIC, limits)
    assert fitted.pairs[0] == replace(PAIR, chosen=(20, 21, 22))
    assert fitted.counts["responses_cut"] == 1


@pytest.mark.parametrize("max_length", [2, 3, 4])
def test_truncation_never_leaves_an_empty_response(max_length):
    """As in trl#6548: a prompt as long as the limit is an error or a counted drop, no NaN."""
    with pytest.raises(ValueError, match="record 17: a prompt of 3 and responses of 4 and 3 tokens need 10"):
        fit([PAIR], Conditioning.SYMMETRIC, Limits(max_length=max_length, over_length=("cut_prompt", "cut_responses")))
    limits = Limits(max_length=max_length, over_length=("cut_prompt", "cut_responses", "drop"))
    fitted = fit([PAIR, replace(PAIR, prompt=(1,), chosen=(2,), rejected=(3,))], Conditioning.NONE, limits)
    assert all(pair.prompt and pair.chosen and pair.rejected for pair in fitted.pairs)
    assert len(fitted.pairs) + len(fitted.dropped) == 2
    assert fitted.counts["dropped_over_length"] == len(fitted.dropped)


def test_responses_are_not_cut_to_equal_ones():
    """Cut to one token, 20 21 and 20 31 would carry no preference."""
    pair = PreferencePair([10, 11], [20, 21], [20, 31], record="a")
    limits = Limits(max_length=3, over_length=("cut_responses", "drop"))
    fitted = fit([pair], Conditioning.NONE, limits)
    assert fitted.pairs == ()
    assert fitted.dropped == ("a",)


@pytest.mark.parametrize("over_cap", ["cut", "drop"])
def test_the_cap_holds_for_contexts_only(over_cap):
    """alpha = 0.3 of 10 tokens is 3, less than y_w's 4; only `symmetric` and `anchored` have y_w as context."""
    limits = Limits(max_length=10, draft_cap=0.3, over_cap=over_cap)
    assert limits.draft_tokens == 3
    shows_chosen = Conditioning.SYMMETRIC, Conditioning.ANCHORED
    for conditioning in (Conditioning.NONE, Conditioning.ONE_SIDED, *shows_chosen):
        exceeds = conditioning in shows_chosen
        fitted = fit([PAIR], conditioning, limits)
        assert fitted.counts["draft_cut" if over_cap == "cut" else "dropped_over_cap"] == exceeds
        assert fitted.pairs == (() if exceeds and over_cap == "drop" else (PAIR,))


@st.composite
def limits(draw):
    policies = draw(st.lists(st.sampled_from(("cut_prompt", "cut_responses")), unique=True))
    return Limits(
        max_length=draw(st.integers(8, 40)),
        over_length=(*policies, "drop"),
        draft_cap=draw(st.sampled_from((None, 0.25, 0.5))),
        over_cap=draw(st.sampled_from(("cut", "drop"))),
    )


def test_a_response_that_is_cut_ends_with_a_token_that_is_scored():
    """Masked are tokens 2 and 3 of 6: of 4, 3 or 2 tokens the first two are left, of 5 all five."""
    pair = PreferencePair([1], [20, 21, 7, 8, 22, EOT], [30, 31, 7, 8, 32, EOT], chosen_masked=((2, 4),))
    for room, left in ((5, (20, 21, 7, 8, 22)), (4, (20, 21)), (3, (20, 21)), (2, (20, 21)), (1, (20,))):
        (cut,) = fit([pair], PLAIN, Limits(max_length=1 + room, over_length=("cut_responses",))).pairs
        assert (cut.chosen, cut.chosen_masked) == (left, ((2, 4),) if room == 5 else ())
        assert (len(cut.rejected), cut.rejected_masked) == (room, ())
        assert cut.scored_lengths == (3 if room == 5 else len(left), room)


@given(cases(), limits())
def test_whatever_fits_is_within_the_limits_and_as_long_as_they_allow(case, limits):
    pairs = list({pair.record: pair for pair in case.pairs}.values())
    separator, cap = SEPARATORS[case.separator], limits.draft_tokens
    fitted = fit(pairs, case.requests, limits, separator=separator)
    assert len(fitted.pairs) + len(fitted.dropped) == len(pairs)
    assert fitted.counts["dropped_over_length"] + fitted.counts["dropped_over_cap"] == len(fitted.dropped)
    given_prompts = {pair.record: pair.prompt for pair in pairs}
    for pair in fitted.pairs:
        longest = max(sum(map(len, separate_sequence(pair, request, case.separator, cap))) for request in case.requests)
        assert longest <= limits.max_length
        row = build_row([pair], case.requests, separator=separator, draft_cap=cap)
        assert row.positions.max() + 2 == longest  # one less for counting from zero, one for the leaf's end
        if pair.prompt != given_prompts[pair.record]:
            assert longest == limits.max_length
            assert given_prompts[pair.record][-len(pair.prompt) :] == pair.prompt


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 1},
        {"max_length": 10, "over_length": ("shorten",)},
        {"max_length": 10, "over_length": "drop"},
        {"over_cap": "warn"},
        {"draft_cap": 0.4},
        {"max_length": 10, "draft_cap": 1.1},
        {"max_length": 10, "draft_cap": 0.0},
        {"max_length": 10, "draft_cap": 0.05},
    ],
)
def test_limits_out_of_range_are_errors(options):
    with pytest.raises(ValueError, match=r"max_length|over_length|over_cap|draft_cap"):
        Limits(**options)
