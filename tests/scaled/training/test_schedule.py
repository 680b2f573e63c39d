"""The learning rate of Appendix D.1, and what is due after which update."""

import pytest
import torch

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


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_are_transformers(schedule):
    """At every one of 40 updates, with 10 of warmup from zero; transformers' end at zero."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2e-4)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=10, num_training_steps=40)
    ends = {} if schedule == "constant" else {"final_lr_ratio": 0}
    options = OptimizerOptions(learning_rate=2e-4, warmup_ratio=0.25, warmup_start=0, schedule=schedule, **ends)
    for update in range(1, 41):
        assert learning_rate(options, update, 40) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_a_linear_schedule_ends_at_its_share_of_the_peak():
    """Without warmup: of 10 updates the sixth is halfway between peak and a tenth of it."""
    options = OptimizerOptions(learning_rate=1, warmup_ratio=0, schedule="linear")
    assert learning_rate(options, 6, 10) == pytest.approx(0.55)
    assert learning_rate(options, 11, 10) == pytest.approx(0.1)
