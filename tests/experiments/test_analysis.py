"""Paired differences at equal KL, by hand; and worlds in which the deployed policy gains, or does not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from experiments import report
from experiments.analysis import at_kl, at_shared_kl, beyond_frontier, effect, holm, paired
from experiments.hypotheses import wanted
from experiments.language.hypotheses import AGAIN, ASKED, CYCLE, HYPOTHESES, SEEDS
from experiments.ledger import Result
from experiments.worlds import world

PATH = [{"kl": 0.25, "value": 0.55}, {"kl": 1.0, "value": 0.65}, {"kl": 4.0, "value": 0.6}]


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.25, 0.55), (0.0625, 0.525), (0.5625, 0.6), (2.25, 0.625), (4.0, 0.6), (4.1, None)],
)
def test_between_points_it_is_linear_in_the_root_of_kl(kl, expected):
    """The roots .25, .75, 1.5 are half the way from 0 to .5, from .5 to 1, from 1 to 2."""
    found = at_kl(PATH, kl, "value", 0.5)
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize("far", [0.1 + 0.2, 1.4327, 2.5566, 1e-9])
def test_a_path_reaches_its_own_last_point(far):
    """Whatever rounding does to roots and squares; two trainings are compared where the shorter one ends."""
    path, other = [{"kl": far, "value": 0.7}], [{"kl": far / 2, "value": 0.6}, {"kl": 9.0, "value": 0.9}]
    assert at_kl(path, far, "value", 0.5) == pytest.approx(0.7)
    expected = 0.7 - at_kl(other, far, "value", 0.5)
    assert at_shared_kl("value", 0.5)(path, other) == pytest.approx(expected)
    assert at_shared_kl("value", 0.5)(other, path) == pytest.approx(-expected)


def test_a_policy_is_held_against_what_others_have_at_its_kl():
    """At KL .5625 the frontier has .6, in whatever order its policies come; only last points count."""
    treated, frontier = [{"kl": 9.0, "value": 0.0}, {"kl": 0.5625, "value": 0.63}], [[point] for point in PATH]
    difference = beyond_frontier("value", 0.5)
    assert difference(treated, *frontier) == difference(treated, *frontier[::-1]) == pytest.approx(0.03)
    assert difference([{"kl": 0.0, "value": 0.5}], *frontier) == 0
    assert difference([{"kl": 4.1, "value": 0.7}], *frontier) is None


def test_an_effect_by_hand():
    """1, 2, 3, 6: mean 3, variance 14/3, so se sqrt(14/12); t(3) has .975 at 3.18245.

    The means of the references, 1.5 and 4.5, have se 1.5, and t(1) has .975 at 12.7062.
    """
    found = effect([(0, 1.0), (0, 2.0), (1, 3.0), (1, 6.0)])
    assert (found.mean, found.seeds, found.groups) == (3.0, 4, {0: 1.5, 1: 4.5})
    assert found.se == pytest.approx(math.sqrt(14 / 12))
    assert found.high == pytest.approx(3 + 3.1824463 * found.se, abs=1e-6)
    assert found.p == pytest.approx(0.0690, abs=1e-3)
    assert found.elsewhere == pytest.approx((3 - 12.7062 * 1.5, 3 + 12.7062 * 1.5), abs=1e-3)
    assert effect([(0, 1.0), (0, 2.0)]).elsewhere is None
    with pytest.raises(ValueError, match="1 seed: no claim rests on fewer than two"):
        effect([(0, 1.0)])
    assert effect([(0, 0.0), (1, 0.0)]).p == 1.0
    assert effect([(0, 1.0), (1, 1.0)]).p == 0.0


def test_corrected_p_values_never_fall():
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == {"b": 0.03, "c": 0.06, "a": 0.06}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_seeds_that_cannot_be_compared_are_named():
    far, near = [{"kl": 4.1, "value": 0.7}], [{"kl": 1.0, "value": 0.7}]
    sides = {(0, 0): [near, PATH[1:2]], (0, 1): [far, PATH], (1, 0): [near, PATH]}
    found, left_out = paired(sides, beyond_frontier("value", 0.5))
    assert found == [(0, pytest.approx(0.05)), (1, pytest.approx(0.15))]
    assert left_out == [(0, 1)]


LANGUAGE = list(HYPOTHESES.values())


def test_what_is_asked_again_shares_no_reference_and_no_data_with_what_was_asked():
    """Nor do its seeds among themselves."""
    asked = {(cell.pretraining_seed, cell.seed) for cell in wanted(list(ASKED.values()))}
    for again in AGAIN:
        for part, numbers in enumerate(zip(*again.cells(), strict=True)):
            assert len(set(numbers)) == len(numbers) == 6
            assert set(numbers).isdisjoint(seed[part] for seed in asked)
        assert again.measure is ASKED[again.name.removeprefix("l-")].measure


def planted(gain, seeds=SEEDS, noise=0.01, unlike=0.0):
    """Results in which INS deploys a policy better by `gain` at equal KL, at a KL of its own; from three references
    by `unlike` more, by that, and by that much less.
    """
    found = []
    for cell in wanted(LANGUAGE):
        seed = (cell.pretraining_seed, cell.seed)
        if seed not in seeds:
            continue
        # What reference and data bring, all cells of a seed share; only the noise of each is its own.
        shared = 0.03 * np.random.default_rng([*seed]).normal()
        rng = np.random.default_rng(int(cell.key()[-8:], 16))
        better = gain + unlike * (1 - seed[0]) if cell.conditioning == "symmetric" else 0.0
        kl = {0.5: 1.3, 0.25: 2.5, 0.1: 4.0}.get(cell.hyperparameters.get("beta"), 5.0)
        kl *= 1.5 if cell.conditioning == "symmetric" else 1.0
        value = 0.5 + (0.12 + shared) * math.sqrt(kl) + better + noise * rng.normal()
        points = [{"kl": 9.0, "value": 0.0}, Numbers({"kl": kl, "value": value})]
        found.append(Result(cell, points, 60.0, {}))
    return found


class Numbers(dict):
    """Whatever else is asked for is even."""

    def __missing__(self, name):
        return 0.5


@pytest.mark.parametrize(("gain", "verdict"), [(0.02, "yes"), (-0.02, "no: the other way round"), (0.0, "not decided")])
def test_a_planted_gain_of_the_deployed_policy_is_found_and_none_is_invented(gain, verdict):
    found = {answer.hypothesis.name: answer for answer in report.answers(HYPOTHESES, planted(gain))}
    answer = found["a-dpo"]
    assert answer.verdict() == verdict
    assert answer.effect.low < gain < answer.effect.high
    assert answer.effect.seeds == len(SEEDS)
    assert found["b-anchored"].verdict() == "not decided"


def test_a_gain_that_references_differ_in_is_said_to_be_theirs():
    """.12, .06 and 0: plain over 15 seeds, and open for a fourth reference."""
    found = {answer.hypothesis.name: answer for answer in report.answers(HYPOTHESES, planted(0.06, unlike=0.06))}
    answer = found["a-dpo"]
    assert answer.verdict() == "yes, from these references"
    assert answer.effect.low > 0 > answer.effect.elsewhere[0]


def test_one_seed_is_no_claim_and_missing_kl_is_said():
    one = report.answers(HYPOTHESES, planted(0.05, seeds=SEEDS[:1]))
    assert {answer.verdict() for answer in one} == {"too few seeds"}
    far = [
        replace(r, points=[{**r.points[-1], "kl": 99.0}])
        if (r.cell.seed, r.cell.conditioning) == (1, "symmetric")
        else replace(r, points=[dict(r.points[-1])])
        for r in planted(0.02)
    ]
    far = [replace(r, points=[Numbers(r.points[0])]) for r in far]
    found = {answer.hypothesis.name: answer for answer in report.answers(HYPOTHESES, far)}
    assert list(found["a-dpo"].left_out) == [(0, 1), (1, 1), (2, 1)]
    page = report.markdown(world("language"), list(found.values()), far, ["x.json: holds no numbers"])
    assert "- a-dpo: reference 0 data 1, reference 1 data 1, reference 2 data 1" in page
    assert "- x.json: holds no numbers" in page


def test_sides_from_two_makings_of_a_reference_are_named_and_do_not_count():
    """One policy of the frontier, of three seeds; where the kind of reference is asked about, each has its own."""
    strange = {(0, 1), (1, 1), (2, 0)}
    results = []
    for result in planted(0.02):
        cell, last = result.cell, dict(result.points[-1])
        last["log_loss_best"] = {"A": 0.31, "B": 0.32, "C": 0.33}[cell.reference] + 0.01 * cell.seed
        frontier = (cell.conditioning, cell.hyperparameters) == ("none", {"beta": 0.25})
        if frontier and (cell.pretraining_seed, cell.seed) in strange and cell.cycle == CYCLE:
            last["log_loss_best"] += 1e-9
        results.append(replace(result, points=[Numbers(last)]))
    found = {answer.hypothesis.name: answer for answer in report.answers(HYPOTHESES, results)}
    assert (found["a-dpo"].mixed, found["a-dpo"].seeds) == (sorted(strange), len(SEEDS) - 3)
    assert (found["e-symmetric-cycle3"].mixed, found["e-symmetric-cycle3"].seeds) == ([], len(SEEDS))
    assert (found["j-reference"].mixed, found["j-reference"].seeds) == ([(2, 0)], 2)
    page = report.markdown(world("language"), list(found.values()), results, [])
    _, _, named = page.partition("Seeds whose sides come from two makings of one reference")
    assert "- a-dpo: reference 0 data 1, reference 1 data 1, reference 2 data 0\n" in named
    assert "- e-" not in named


def test_every_hypothesis_has_its_cells_once():
    cells = wanted(LANGUAGE)
    assert len({cell.key() for cell in cells}) == len(cells)
    keys = {cell.key() for cell in cells}
    again = {hypothesis.name for hypothesis in AGAIN}
    for hypothesis in LANGUAGE:
        for sides in hypothesis.cells().values():
            assert len({cell.key() for cell in sides}) == len(sides), hypothesis.name
            assert {cell.key() for cell in sides} <= keys
        assert len(hypothesis.seeds) >= 3
        assert hypothesis.name in again or {pretraining for pretraining, _ in hypothesis.seeds} == {0, 1, 2}
    first = {cell.key() for h in LANGUAGE for cell in h.cells()[h.seeds[0]]}
    assert {cell.key() for cell in cells[: len(first)]} == first, "every question has an answer early"
