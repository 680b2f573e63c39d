"""What the benchmark compares must be the same computation; what it prints must be what it measured."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("trl")

import one_pass
import one_pass_measure
import one_pass_pairs
import one_pass_steps

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row

pytestmark = pytest.mark.trl

TINY = one_pass_steps.Shape(hidden=32, intermediate=48, layers=2, heads=4, kv_heads=2, vocabulary=64)
SETTING = one_pass_measure.Setting(
    shape="small",
    device="cpu",
    max_length=64,
    tuples=False,
    pairs=8,
    threads=1,
    attention="auto",
    seed=0,
)


@pytest.fixture
def bench(monkeypatch):
    """Eight pairs of unequal lengths, so that every kind of padding occurs."""
    monkeypatch.setitem(one_pass_steps.SHAPES, "small", TINY)
    rng = torch.Generator().manual_seed(0)

    def tokens(length):
        return torch.randint(4, 64, (length,), generator=rng).tolist()

    pairs = tuple(
        PreferencePair(tokens(3 + number), tokens(5 + 2 * number), tokens(20 - number), record=100 - number)
        for number in range(8)
    )
    bench = one_pass_measure.Bench(SETTING, one_pass_pairs.Selection(pairs, {}, 64))
    # A policy apart from the reference: at equal weights DPO's loss is log 2 whatever the log-probs are.
    with torch.no_grad():
        for parameter in bench.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return bench


def loss_and_gradient(bench, key):
    bench.model.zero_grad(set_to_none=True)
    loss = bench.step(key).run()
    return loss, torch.cat([parameter.grad.flatten() for parameter in bench.model.parameters()])


@pytest.mark.parametrize(
    "keys",
    [
        ("dpo:0", "dpo:128", "trl:2", "trl:8", "trl_checkpointed:4", "trl_grouped:2"),
        ("ins:0", "ins:256", "two_rows:1", "two_rows:4"),
    ],
    ids=["plain DPO", "INS-DPO"],
)
def test_all_steps_of_an_objective_have_one_loss_one_gradient_and_the_same_targets(bench, keys):
    if any(key.startswith("trl") for key in keys):
        assert bench.trainer is not None  # TRL's reference is computed here, from the same weights as ours ...
        bench.reference = one_pass_steps.reference_logps(bench.model, bench.pairs)  # ... so ours moves too
        with torch.no_grad():
            for parameter in bench.model.parameters():
                parameter.mul_(1.02)
    expected_loss, expected = loss_and_gradient(bench, keys[0])
    assert abs(expected_loss - torch.log(torch.tensor(2.0))) > 1e-4
    for key in keys[1:]:
        loss, gradient = loss_and_gradient(bench, key)
        assert loss == pytest.approx(expected_loss, abs=2e-5), key
        torch.testing.assert_close(gradient, expected, atol=2e-5, rtol=1e-3, msg=key)
    one_pass.same_targets(bench, keys)


def test_a_step_with_other_targets_is_refused(bench, monkeypatch):
    monkeypatch.setattr(bench, "step", lambda _key: one_pass_steps.Step(lambda: 0.0, tokens=1, scored=1))
    with pytest.raises(AssertionError, match=r"INS-DPO, one pass, one tree a row scores 1 target tokens"):
        one_pass.same_targets(bench, ["ins:0"])


def test_losses_that_disagree_are_refused():
    timings = {
        "dpo:0": one_pass_measure.Timing([1.0], [1.0], loss=0.69),
        "trl:8": one_pass_measure.Timing([1.0], [1.0], loss=0.72),
    }
    with pytest.raises(AssertionError, match="disagree"):
        one_pass.agree(timings, 1e-4)


def test_a_ratio_is_of_steps_of_the_same_turn():
    """Turns (2, 4) and (4, 16): ratios 1/2 and 1/4, median 3/8. The machine got slower; the ratio did not."""
    ratio = one_pass_measure.Ratio.of(
        one_pass_measure.Timing([2.0, 4.0], [1.0, 1.0]), one_pass_measure.Timing([4.0, 16.0], [2.0, 2.0])
    )
    assert (ratio.wall, ratio.smallest, ratio.largest, ratio.cpu) == (0.375, 0.25, 0.5, 0.5)
    assert one_pass_measure.Ratio.of(one_pass_measure.Timing(), one_pass_measure.Timing([1.0], [1.0])) is None


def test_one_slow_turn_does_not_choose_the_sizes(monkeypatch):
    """Micro-batch 4 and rows of 2048 are fastest, though something else ran during their first turn."""
    seconds = {"trl_grouped:4": [9.0, 2.0, 2.1], "ins:2048": [7.0, 1.0, 1.0]}

    def measured(_bench, keys, turns, _progress):
        assert turns == 3
        return {key: one_pass_measure.Timing(wall=seconds.get(key, [3.0] * turns)) for key in keys}

    monkeypatch.setattr(one_pass, "Bench", lambda _setting: None)
    monkeypatch.setattr(one_pass, "interleave", measured)
    assert one_pass.tune(SETTING, None, None) == (4, 2048)
    assert one_pass.tune(SETTING, 16, 0) == (16, 0)


def test_operations_of_a_tree_by_hand():
    """One layer, hidden 4, MLP 8, vocabulary 16; x of 1, y_w and y_l of 2 tokens, plain DPO: 3 rows (no last tokens).

    Linear: 3 rows x (4 x 4 x 4 + 3 x 4 x 8 = 160) = 480. Attention: rows see 1, 2 and 2 rows = 5, twice 4 each: 40.
    Output: 4 targets x 4 x 16 = 256. Sum 776 multiply-adds, x 2, x 3 for forward and backward.
    """
    shape = one_pass_steps.Shape(hidden=4, intermediate=8, layers=1, heads=1, kv_heads=1, vocabulary=16)
    row = build_row([PreferencePair([1], [2, 3], [4, 5])], Conditioning.NONE)
    assert one_pass_measure.step_flops(shape, [row]) == 6 * 776


def test_what_is_missing_or_wrong_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(one_pass_pairs, "JUDGED_PAIRS", tmp_path / "pairs.jsonl.gz")
    with pytest.raises(UserError, match=r"^no judged pairs: pairs\.jsonl\.gz must be in \.\./shared/data/judged_pairs"):
        one_pass_measure.select(SETTING)
    with pytest.raises(UserError, match="must be a multiple of 8"):
        one_pass.parse(["--pairs", "12"])


@pytest.mark.usefixtures("shared_data")
def test_the_table_from_real_pairs_to_markdown(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(one_pass_steps.SHAPES, "small", replace(TINY, vocabulary=8192))
    monkeypatch.setattr(one_pass, "RESULTS", tmp_path)
    monkeypatch.setattr(one_pass, "matrix_peak", lambda _device, _dtype: 1e11)
    monkeypatch.setattr(one_pass, "peak_memory", lambda _bench, keys, _pairs: dict.fromkeys(keys, 2**20))
    one_pass.main(["--quick", "--threads", "1"])
    printed = capsys.readouterr().out
    assert "| INS-DPO, one pass | TRL plain DPO, defaults, micro-batch 8 | <= 0.55 |" in printed
    assert "| peak memory of INS-DPO | TRL at its best | <= 1.20 | 1.00 |" in printed
    assert (tmp_path / "table-cpu-small-response.json").is_file()
