"""Two models on the same questions, and a user's own comparisons."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from scaled.evaluation.benchmarks.pairwise import Row
from scaled.evaluation.scoring import pairwise
from scaled.evaluation.scoring.paired import compare


def test_a_comparison_by_hand():
    """Four wins, one loss, one tie: the sign test's p is 2 (5 + 1) / 32."""
    found = compare(np.array([1.0, 1, 1, 1, 0, 0.5]), np.array([0.0, 0, 0, 0, 1, 0.5]))
    assert (found.wins, found.losses, found.ties) == (4, 1, 1)
    assert found.difference == 0.5
    assert found.sign_p == pytest.approx(12 / 32)
    assert found.reach == 2 * found.se
    assert found.t_p == pytest.approx(ttest_rel([1, 1, 1, 1, 0, 0.5], [0, 0, 0, 0, 1, 0.5]).pvalue)


def test_comparisons_without_spread():
    same = compare(np.ones(3), np.ones(3))
    assert (same.sign_p, same.t_p, same.se) == (1, None, 0)
    apart = compare(np.array([5.1, 6.1, 7.3]), np.array([4.1, 5.1, 6.3]))  # by 1, but for rounding
    assert apart.difference == pytest.approx(1)
    assert (apart.t_p, apart.se) == (None, 0)
    assert compare(np.array([1.0, 1, 1.001]), np.zeros(3)).t_p < 1e-6
    with pytest.raises(ValueError, match="3 questions of one model, 2"):
        compare(np.ones(3), np.ones(2))


def row(question, part, value):
    return Row(question, "m", part, value)


BOTH = [
    row("1", "baseline first", 1.0),
    row("1", "model first", 1.0),
    row("2", "baseline first", 0.0),
    row("2", "model first", 1.0),
    row("3", "baseline first", 0.5),
    row("3", "model first", None),
]


def test_comparisons_and_position_bias():
    """Of four decided games the first answer won three: all but the first of them."""
    found = {number.metric: number for number in pairwise.numbers(BOTH, {"1": "x", "2": "x", "3": ""})}
    assert found["pairwise_wr"].value == pytest.approx(100 * 3.5 / 5)
    assert found["pairwise_wr_x"].value == 75
    assert found["pairwise_first_wins"].value == 75
    counts = found["pairwise_wr"].counts
    assert (counts["won"], counts["tied"], counts["lost"], counts["no verdict"]) == (3, 1, 1, 1)
    assert counts["both orders"] == 2
    assert counts["same verdict"] == 1


def test_ratings():
    found = pairwise.numbers(
        [row("1", "score", 4.0), row("2", "score", 8.0), row("3", "score", None)], dict.fromkeys("123", "")
    )
    (number,) = found
    assert (number.metric, number.value, number.se, number.n) == ("pairwise_score", 6, 2, 2)
    assert number.counts == {"ratings": 3, "no verdict": 1}
