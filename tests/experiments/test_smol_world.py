"""The judge of English answers: exact values worked out by hand, styles, prompts."""

import math
from itertools import product

import numpy as np
import pytest

from experiments.hypotheses import wanted
from experiments.smol.cells import Cell
from experiments.smol.hypotheses import HYPOTHESES
from experiments.smol.world import (
    MALFORMED,
    STYLES,
    USES,
    Judge,
    Kind,
    beats,
    every_prompt,
    prompts,
    read,
    shares,
    style,
)


def test_the_judge_by_hand():
    """4 (.5 - .25) = 1 of sentiment, 3 of the cycle, .2 (8 - 4) / 4 = .2 of length."""
    one, other = Kind(0.5, "personal", 8), Kind(0.25, "direct", 4)
    assert Judge().log_odds(one, other) == pytest.approx(1.0)
    assert Judge(cycle=3.0).log_odds(one, other) == pytest.approx(4.0)
    assert Judge(cycle=3.0, length=0.2).log_odds(one, other) == pytest.approx(4.2)
    assert Judge(cycle=3.0).probability(one, other) == pytest.approx(1 / (1 + math.exp(-4)))
    assert Judge(cycle=3.0).log_odds(Kind(MALFORMED, None, 0), one) == pytest.approx(-8.0)


def test_styles_beat_each_other_in_a_circle_and_never_themselves():
    table = np.array([[beats(one, other) for other in STYLES] for one in STYLES])
    assert (table == -table.T).all()
    assert (table == [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]).all()
    assert beats(None, "plain") == beats("plain", None) == 0


def test_without_a_cycle_log_odds_add_up_and_with_one_they_do_not():
    kinds = [Kind(sentiment, name, 5) for sentiment, name in zip((0.1, 0.4, -0.2), STYLES, strict=True)]
    one, two, three = kinds
    for judge, around in ((Judge(), 0.0), (Judge(cycle=3.0), 9.0)):
        assert judge.log_odds(one, two) + judge.log_odds(two, three) + judge.log_odds(three, one) == pytest.approx(
            around
        )
    for each, other in product(kinds, kinds):
        assert Judge(cycle=3.0).log_odds(each, other) == -Judge(cycle=3.0).log_odds(other, each)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'd say it's my favorite.", "personal"),
        ("Let\u2019s go there with our dog.", "personal"),
        ("You'll love your stay.", "direct"),
        ("I think you should take your umbrella.", "direct"),
        ("I thank you.", "personal"),
        ("You and I were late.", "direct"),
        ("The bakery smells of bread.", "plain"),
        ("Iceland, youth and mystery.", "plain"),  # no pronouns within words
    ],
)
def test_styles(text, expected):
    assert style(text) == expected


def test_sentiment_is_vaders_and_blind_to_styles():
    """From VADER's paper and code: one word of valence v has v / sqrt(v^2 + 15), great 3.1, horrible -2.5."""
    assert read("The soup is great").sentiment == pytest.approx(3.1 / math.sqrt(3.1**2 + 15), abs=1e-4)
    assert read("The soup is horrible").sentiment == pytest.approx(-2.5 / math.sqrt(2.5**2 + 15), abs=1e-4)
    assert (
        read("My soup is great").sentiment
        == read("Your soup is great").sentiment
        == read("The soup is great").sentiment
    )


@pytest.mark.parametrize(
    ("text", "ended"),
    [("It is great", False), ("", True), ("So good", True), ("It is\ngreat fun", True), ("It is great \ufffd", True)],
)
def test_what_is_malformed(text, ended):
    kind = read(text, ended=ended)
    assert (kind.sentiment, kind.style) == (MALFORMED, None)
    assert MALFORMED < -1


def test_prompts_of_different_uses_share_none():
    """2304 prompts, a third for each use; a seed decides which come."""
    assert len(set(every_prompt())) == 2304
    found = {use: prompts(use, 768, 1) for use in USES}
    assert all(len(set(each)) == 768 for each in found.values())
    assert len(set().union(*found.values())) == 2304
    assert prompts("pairs", 50, 1) == prompts("pairs", 200, 1)[:50] != prompts("pairs", 50, 2)
    assert len(prompts("pairs", 1000, 1)) == 1000


def test_shares():
    kinds = [Kind(0.1, "plain", 3), Kind(0.1, "plain", 3), Kind(0.1, "direct", 3), Kind(MALFORMED, None, 0)]
    assert shares(kinds) == {"personal": 0.0, "direct": 0.25, "plain": 0.5}


def test_cells():
    cells = wanted(list(HYPOTHESES.values()))
    assert len({cell.key() for cell in cells}) == len(cells) == 20
    assert sum(cell.cycle > 0 for cell in cells) == 14
    with pytest.raises(ValueError, match=r"method = 'ppo' must be one of .*dpo"):
        Cell("ppo", "none")
    with pytest.raises(ValueError, match=r"conditioning = 'both' must be one of none"):
        Cell("dpo", "both")
