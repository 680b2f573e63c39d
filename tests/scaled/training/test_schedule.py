"""The learning rate of Appendix D.1, and what is due after which update."""

import pytest

from scaled.config import OptimizerOptions, OutputOptions
from scaled.data.plan import make_plan
from scaled.training.schedule import due, learning_rate


def test_the_learning_rate_rises_linearly_from_1e_8_and_falls_to_a_tenth():
    """D.1 with 100 updates: 10 of warmup; halfway down the cosine, update 55, it is the mean of peak and tenth."""
    options = OptimizerOptions()
    rates = [learning_rate(options, update, 100) for update in range(1, 102)]
    assert rates[0] == 1e-8
    assert rates[5] == pytest.approx((1e-8 + 5e-7) / 2)
    assert rates[10] == max(rates) == pytest.approx(5e-7)
    assert rates[55] == pytest.approx((5e-7 + 5e-8) / 2)
    assert rates[100] == pytest.approx(5e-8)


def test_a_validation_is_always_saved_and_the_last_update_always_validated():
    """6 updates, 4 of them an epoch: validation after 4 and 6, a checkpoint there and after every second one."""
    plan = make_plan([1] * 8, [*range(8), *range(4)], world_size=1, batch_size=2)
    found = [due(OutputOptions(save_every=2), plan, update, validates=True) for update in range(1, 7)]
    assert found == [(False, False), (False, True), (False, False), (True, True), (False, False), (True, True)]
    assert due(OutputOptions(), plan, 4, validates=False) == (False, True)
