"""The simulation of ranks that wait: shares are right where they are known."""

import pytest
from balance import idle


def test_known_shares():
    even = [10] * 64
    assert idle(even, 4, 16, 40, 3) == pytest.approx((0, 0, 0))
    # Two ranks, one pair each: the shorter one waits for half of the time, and no plan could mend it.
    assert idle([10, 20] * 2, 2, 2, 20, 2)[2] <= 0.25
    uneven = idle([10, 20], 2, 2, 20, 1)
    assert uneven == pytest.approx((0.25, 0.25, 0.25))


def test_long_lengths_are_dealt_evenly_where_they_can_be():
    """Log-normal lengths, four pairs a rank or more: under 5 % of the time is lost at 64 ranks."""
    import numpy as np

    lengths = np.random.default_rng(0).lognormal(7.3, 0.6, 2048).clip(100, 4096).astype(int).tolist()
    each, whole, least = idle(lengths, 64, 256, 8192, 8)
    assert least <= whole <= each < 0.06
    assert idle(lengths, 64, 512, 8192, 4)[0] < 0.05
