"""PreferencePair and PairLogps: what they accept, what they refuse, and the quantities that the losses read."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from examples import one_pair
from token_cases import PAIR

from inspo.pairs import PairLogps

FIELDS = [field.name for field in fields(PairLogps)]


def test_swapping_exchanges_everything_of_the_two_responses():
    pairs = one_pair(-1, -2, -3, -4, 5, 6).swapped()
    assert [getattr(pairs, name).item() for name in FIELDS] == [-2, -1, -4, -3, 6, 5]


def test_swapping_twice_changes_nothing(pairs):
    twice = pairs.swapped().swapped()
    assert all(getattr(twice, name) is getattr(pairs, name) for name in FIELDS)


def test_swapping_needs_neither_reference_nor_lengths():
    pairs = one_pair(-1, -2).swapped()
    assert pairs.logps()[0].item() == -2
    assert pairs.ref_chosen_logps is None
    assert pairs.rejected_length is None


def test_quantities_by_hand():
    """Chosen -6 nats over 3 tokens, reference -4; rejected -10 over 4, reference -11."""
    pairs = one_pair(-6, -10, -4, -11, 3, 4)
    assert [value.item() for value in pairs.logps()] == [-6, -10]
    assert [value.item() for value in pairs.logratios()] == [-2, 1]
    assert [value.item() for value in pairs.lengths()] == [3, 4]
    assert [value.item() for value in pairs.length_means()] == [-2, -2.5]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32], ids=str)
def test_lengths_of_any_number_type_come_in_the_dtype_of_the_logps(dtype):
    pairs = PairLogps(*torch.tensor([[-1.0], [-2.0]], dtype=torch.float64), None, None, *torch.ones(2, 1, dtype=dtype))
    assert [length.dtype for length in pairs.lengths()] == [torch.float64] * 2


@pytest.mark.parametrize("name", FIELDS[1:])
def test_shapes_that_differ_are_refused_by_name(name, pairs):
    with pytest.raises(ValueError, match=rf"{name} has shape \(6, 1\), but chosen_logps has \(6,\)"):
        replace(pairs, **{name: getattr(pairs, name)[:, None]})


@pytest.mark.parametrize("name", [name for name in FIELDS if name.endswith("_logps")])
def test_integer_logps_are_refused_by_name(name, pairs):
    with pytest.raises(ValueError, match=f"{name} must be floating point, got torch.int64"):
        replace(pairs, **{name: getattr(pairs, name).long()})


@pytest.mark.parametrize("name", FIELDS[2:])
def test_half_a_reference_or_length_is_refused(name, pairs):
    with pytest.raises(ValueError, match="both responses or of neither"):
        replace(pairs, **{name: None})


@pytest.mark.parametrize("name", ["chosen_length", "rejected_length"])
@pytest.mark.parametrize("length", [0, -1])
def test_empty_responses_are_refused_by_name(name, length, pairs):
    """Truncation can leave a response without tokens; its mean log-prob would be NaN in the loss."""
    with pytest.raises(ValueError, match=name):
        replace(pairs, **{name: torch.tensor([3, 1, length, 4, 1, 5])}).length_means()


def test_missing_reference_and_lengths_say_what_to_give():
    with pytest.raises(ValueError, match="give ref_chosen_logps and ref_rejected_logps"):
        one_pair(-1, -2).logratios()
    with pytest.raises(ValueError, match="give chosen_length and rejected_length"):
        one_pair(-1, -2).lengths()
    with pytest.raises(ValueError, match="give chosen_length and rejected_length"):
        one_pair(-1, -2).length_means()


def test_pairs_cannot_be_changed_in_place(pairs):
    with pytest.raises(FrozenInstanceError):
        pairs.chosen_logps = pairs.rejected_logps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": ()}, "record 17: the rejected response is empty"),
        ({"prompt": ()}, "record 17: the prompt is empty"),
        ({"rejected": PAIR.chosen}, "record 17: chosen and rejected are the same"),
        ({"chosen": (3, -100)}, "record 17: the chosen response holds the negative token id -100"),
        ({"chosen": (0.5,)}, "record 17: the chosen response must be a flat sequence of token ids"),
        ({"chosen": ((1, 2), (3, 4))}, "record 17: the chosen response must be a flat sequence"),
        ({"preference": 1.5}, "record 17: preference = 1.5"),
        ({"preference": float("nan")}, "record 17: preference = nan"),
        ({"chosen_masked": ((0, 1),)}, r"record 17: chosen_masked = \(\(0, 1\),\) must be spans in order, apart"),
        ({"chosen_masked": ((1, 99),)}, "record 17: chosen_masked"),
        ({"rejected_masked": ((1, 1),)}, "record 17: rejected_masked"),
    ],
)
def test_malformed_pairs_are_errors_that_name_the_record(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PAIR, **change)


def test_tokens_outside_the_vocabulary_are_errors_that_name_the_record():
    PAIR.check_vocabulary(32)
    with pytest.raises(ValueError, match="record 17: token id 31 is outside the vocabulary of 31"):
        PAIR.check_vocabulary(31)
