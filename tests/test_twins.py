"""What is written twice on purpose, in theory/ as a second opinion, gives the same numbers."""

from fractions import Fraction

import numpy as np
import pytest
from strategies import WITNESS, from_upper

from inspo.objectives import optimality_gap
from inspo.preferences import bradley_terry, cyclic_triads, load_table, random_preferences, separability
from theory import comparisons, exact, flow
from theory.claims import dpo_solves_4, humans, sec_5_3, thm_4_1_eq_9
from theory.claims.eq_10 import flows
from toy import baselines, minimizers
from toy.plots.human_tables import _bootstrap
from toy.problems import witness

W = np.array(exact.W, dtype=float)
SEEDS = range(5)


def random_problem(seed):
    """(P, mu, beta) with three to five responses, P in (0, 1)."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(3, 6))
    return random_preferences(k, rng), rng.dirichlet(np.full(k, 5.0)), float(rng.uniform(0.3, 1.5))


def centered(scores):
    return scores - scores.mean()


def test_the_witness_is_one_matrix():
    assert (np.array(exact.W) == WITNESS).all()
    assert (witness().P == W).all()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_matrix_from_its_upper_entries(k):
    entries = [Fraction(n, 100) for n in range(1, k * (k - 1) // 2 + 1)]
    assert (from_upper(k, entries) == np.array(exact.preferences(entries))).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_bradley_terry_fits(seed):
    """Every pair alike: minorization-maximization, L-BFGS, and two of Newton's, once as DPO's policy."""
    P, mu, beta = random_problem(seed)
    even = np.full(len(P), 1 / len(P))
    by_theory = comparisons.fit(1000 * P * (1 - np.eye(len(P))))
    assert bradley_terry(separability(P).scores) == pytest.approx(by_theory, abs=1e-6)
    assert bradley_terry(baselines.bradley_terry_reward(P, even)) == pytest.approx(by_theory, abs=1e-8)
    reward = baselines.bradley_terry_reward(P, mu)
    assert centered(beta * np.log(flow.dpo_limit(P, mu, beta) / mu)) == pytest.approx(reward, abs=1e-9)
    assert flow.dpo_limit(P, mu, beta) == pytest.approx(baselines.rlhf(P, mu, beta), abs=1e-9)


@pytest.mark.parametrize("name", humans.TABLES)
def test_statistics_and_bootstraps_of_the_human_tables(name):
    """The same generator draws the same counts."""
    table, wins = load_table(comparisons.DATA / f"{name}.json"), comparisons.load_wins(name)
    P = comparisons.frequencies(wins)
    assert (P == table.P).all()
    assert comparisons.gaps(P) == pytest.approx(optimality_gap(P, np.full(len(P), 1 / len(P))), abs=1e-12)
    assert comparisons.triads(P) == cyclic_triads(P)
    truth = comparisons.fit(wins)
    by_theory = comparisons.frequencies(comparisons.resample(wins, truth, 50))
    by_toy = _bootstrap(table, truth, 50, "identity", np.random.default_rng(2026))
    assert np.stack(by_toy) == pytest.approx(by_theory, abs=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_flows(seed):
    P, mu, beta = random_problem(seed)
    assert flow.conditioned_limit(P, mu, beta) == pytest.approx(minimizers.symmetric_flow(P, mu, beta), abs=1e-5)


@pytest.mark.parametrize(("p", "first", "beta"), [(0.75, 0.5, 1.0), (0.75, 0.5, 0.1), (0.6, 0.1, 0.5), (0.2, 0.7, 2.0)])
def test_lambert_w_limits(p, first, beta):
    mu = (first, 1 - first)
    by_toy = minimizers.two_response_limit(p, np.array(mu), beta)
    assert flows.lambert_limit(p, mu, beta) == pytest.approx(by_toy, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_closed_forms(seed):
    P, mu, beta = random_problem(seed)
    assert dpo_solves_4.closed_form(P, mu, beta) == pytest.approx(baselines.ipo(P, mu, beta), abs=1e-12)
    assert sec_5_3.limit(P, mu, beta) == pytest.approx(minimizers.one_sided_limit(P, mu, beta), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_programs_of_the_largest_value(seed):
    P, mu, beta = random_problem(seed)
    assert thm_4_1_eq_9.value_range(P, mu, beta)[1] == pytest.approx(minimizers.best_value(P, mu, beta)[0], abs=1e-9)
