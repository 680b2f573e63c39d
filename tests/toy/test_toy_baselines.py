"""The toy's untrained policies and the minimizers of Eq. (9): against hand values and closed forms."""

import numpy as np
import pytest
from scipy.special import logit

from inspo.objectives import conditioned_value, gibbs_policy, optimality_gap, scores, value
from inspo.preferences import bradley_terry, random_preferences, rock_paper_scissors, separability
from toy.baselines import (
    anchored,
    at_kl,
    bradley_terry_reward,
    frontier_value,
    ipo,
    least_regret,
    nash,
    pi_bar,
    pi_star,
    rlhf,
    worst_regret,
)
from toy.minimizers import (
    anchored_flow,
    best_value,
    conserved,
    one_sided_flow,
    one_sided_limit,
    symmetric_flow,
    two_response_limit,
)
from toy.plots.realizability import column_sums, distance, smallest_beta, sums_without_self
from toy.problems import witness
from toy.training import kl_to_reference

W = witness().P
UNIFORM = np.full(3, 1 / 3)
BT = bradley_terry(np.log([4, 2, 1]))


def test_optima_of_the_witness():
    """S = (17, 18, 10)/30, so pi_bar is y2 with V = 3/5; the columns' maxima .7, .5 -> y2, y2 and .9 -> y1
    give V(pi*) = (.7 + .5 + .9)/3 = 7/10. Log-odds: the maxima are ln(7/3), 0 and ln 9,
    S(y1) is (ln(3/7) + ln 9)/3, so the gap is 2/3 ln(7/3) = .564865."""
    assert pi_bar(W, UNIFORM).tolist() == [0, 1, 0]
    assert pi_bar(W, UNIFORM, "log_odds").tolist() == [1, 0, 0]
    assert pi_star(W).argmax(axis=0).tolist() == [1, 1, 0]
    assert conditioned_value(pi_star(W), W, UNIFORM) == pytest.approx(0.7)
    assert optimality_gap(W, UNIFORM) == pytest.approx(0.1)
    assert optimality_gap(W, UNIFORM, "log_odds") == pytest.approx(2 / 3 * np.log(7 / 3))


def test_bradley_terry_reward_recovers_the_truth_and_fits_borda_otherwise():
    reward = bradley_terry_reward(BT, UNIFORM)
    assert reward == pytest.approx(np.log([4, 2, 1]) - np.log(8) / 3, abs=1e-10)
    # W: c1 - c2 = -.145672, c2 - c3 = 1.172775.
    c = bradley_terry_reward(W, UNIFORM)
    assert (c[0] - c[1], c[1] - c[2]) == (pytest.approx(-0.145672, abs=1e-6), pytest.approx(1.172775, abs=1e-6))
    assert rlhf(W, UNIFORM, 1.0) == pytest.approx([0.397636, 0.459993, 0.142371], abs=1e-6)


def test_both_bradley_terry_fits_agree_where_all_pairs_weigh_the_same():
    """The toy's is a batch under any pair sampling, by Newton's method; the library's is one table, by L-BFGS."""
    P = np.stack([W, BT, *(random_preferences(3, np.random.default_rng(seed)) for seed in range(10))])
    fitted = bradley_terry_reward(P, np.full((12, 3), 1 / 3))
    for table, reward in zip(P, fitted, strict=True):
        assert reward == pytest.approx(separability(table).scores, abs=1e-6)


def test_dpos_favorite_follows_the_pair_sampling():
    """nu = (.1, .1, .8): S_nu = (.05 + .03 + .72, .07 + .05 + .48, ...) = (.8, .6, ...), so y1."""
    assert rlhf(W, UNIFORM, 1.0, np.array([0.1, 0.1, 0.8])).argmax() == 0


def test_a_certain_winner_has_no_finite_reward():
    with pytest.raises(ValueError, match="no finite"):
        bradley_terry_reward(np.array([[0.5, 1.0], [0.0, 0.5]]), np.array([0.5, 0.5]))


def test_nash_policies():
    """Rock-paper-scissors: uniform, whatever p. A response that beats all others is played alone (W: y2)."""
    assert nash(rock_paper_scissors(0.9)) == pytest.approx(UNIFORM, abs=1e-9)
    assert nash(np.stack([W, BT])) == pytest.approx(np.array([[0, 1, 0], [1, 0, 0]]), abs=1e-9)


def test_nash_is_beaten_by_no_response():
    P = np.stack([random_preferences(6, np.random.default_rng(seed)) for seed in range(20)])
    policy = nash(P)
    assert (P @ policy[..., None]).max() <= 0.5 + 1e-9
    assert policy.min() >= 0


def test_least_regret():
    """W, (a, b, c): against y1 (best answer .7) .2 a + .6 c, y2 (.5) .2 a + .1 c, y3 (.9) .3 b + .4 c; without c,
    .2 a = .3 b at a = 3/5: 3/25. Certain rock-paper-scissors: uniform, 1 - 1/2; no policy has less, as the
    regrets' mean over comparators is 1/2 for each."""
    policy = least_regret(np.stack([W, rock_paper_scissors(1.0)]))
    assert policy == pytest.approx(np.array([[3 / 5, 2 / 5, 0], UNIFORM]), abs=1e-9)
    assert worst_regret(policy, np.stack([W, rock_paper_scissors(1.0)])) == pytest.approx([3 / 25, 1 / 2])
    # pi_bar answers y2: .3 against y3. pi*, which sees its comparator, has none.
    assert worst_regret(pi_bar(W, UNIFORM), W) == pytest.approx(0.3)
    assert worst_regret(pi_star(W), W) == pytest.approx(0)


@pytest.mark.parametrize("psi", ["identity", "log_odds"])
def test_no_policy_has_less_regret_and_no_reference_a_larger_gap(psi):
    """Minimax: the least regret is the largest gap V(pi*) - V(pi_bar) over references, so no gap is above it."""
    rng = np.random.default_rng(6)
    P = random_preferences(4, rng)
    least = worst_regret(least_regret(P, psi), P, psi)
    rivals, references = rng.dirichlet(np.ones(4), size=(2, 500))
    tables = np.broadcast_to(P, (500, 4, 4))
    assert (worst_regret(rivals, tables, psi) >= least - 1e-9).all()
    assert (optimality_gap(tables, references, psi) <= least + 1e-9).all()
    with pytest.raises(ValueError, match="psi must be finite"):
        least_regret(rock_paper_scissors(1.0), "log_odds")


def test_the_anchored_minimizer_is_dpos_policy_where_a_reward_explains_the_preferences():
    """BT: L_ij = c_i - c_j, whose second half is the column's own constant. For others it may be worth more than every
    minimizer of (9): cyclic 2/3 at beta = 1/2 has odds^2 = 4, so 16 : 4 : 1 for what wins, copies and loses,
    and V = (16 2/3 + 4 / 2 + 1/3) / 21 = 13/21 against 3/5."""
    mu = np.array([0.2, 0.5, 0.3])
    for beta in (0.1, 1.0):
        assert anchored(BT, mu, beta) == pytest.approx(np.tile(rlhf(BT, mu, beta)[:, None], 3), abs=1e-9)
    cycle = rock_paper_scissors(2 / 3)
    assert conditioned_value(anchored(cycle, UNIFORM, 0.5), cycle, UNIFORM) == pytest.approx(13 / 21)
    assert best_value(cycle, UNIFORM, 0.5)[0] == pytest.approx(3 / 5)
    assert conditioned_value(anchored(W, UNIFORM, 0.01), W, UNIFORM) == pytest.approx(0.7)


def test_gradient_flow_of_the_anchored_loss_ends_at_one_policy_from_anywhere():
    mu, rng = np.array([0.2, 0.5, 0.3]), np.random.default_rng(8)
    for start in (mu, rng.dirichlet(np.ones(3), 3).T, rng.dirichlet(np.full(3, 0.2), 3).T):
        assert anchored_flow(W, mu, 0.5, start, np.array([0.0, 1e12]))[-1] == pytest.approx(
            anchored(W, mu, 0.5), abs=1e-8
        )


def test_ipo_is_the_frontier_no_policy_of_the_same_kl_is_above():
    rng = np.random.default_rng(4)
    P = random_preferences(5, rng)
    mu = rng.dirichlet(np.ones(5), size=400)
    policies = rng.dirichlet(np.ones(5), size=400)
    tables = np.broadcast_to(P, (400, 5, 5))
    kl = kl_to_reference(policies, mu)
    assert (value(policies, tables, mu) <= frontier_value(tables, mu, kl) + 1e-9).all()


def test_at_kl_returns_the_tilted_policy_that_spends_it():
    mu, tau = np.array([[0.2, 0.3, 0.5]]), 0.3
    for reward in (scores(W[None], mu), W[None]):
        expected = gibbs_policy(reward, mu, tau)
        assert at_kl(reward, mu, kl_to_reference(expected, mu)) == pytest.approx(expected, abs=1e-9)
    assert ipo(W[None], mu, tau) == pytest.approx(gibbs_policy(scores(W[None], mu), mu, tau))


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.652381), (0.5, 0.685437), (0.1, 0.699986)])
def test_the_best_minimizer_of_the_witness(beta, expected):
    """By another linear program; and its policy has the Bayes loss: g_ij - g_ji = L_ij / beta, both positive."""
    best, policy = best_value(W, UNIFORM, beta)
    assert best == pytest.approx(expected, abs=1e-6)
    assert conditioned_value(policy, W, UNIFORM) == pytest.approx(best)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if min(policy[i, j], policy[j, i]) > 1e-12:
            assert np.log(policy[i, j] / policy[j, i]) == pytest.approx(logit(W[i, j]) / beta)


def test_gradient_flow_ends_where_the_closed_form_for_two_responses_says():
    """P12 = .75, mu = 1/2: beta = 1 -> (.683269, .227756), V = .556939; beta = .1 -> V = .614319."""
    P, mu = np.array([[0.5, 0.75], [0.25, 0.5]]), np.array([0.5, 0.5])
    assert two_response_limit(0.75, mu, 1.0) == pytest.approx((0.683269, 0.227756), abs=1e-6)
    for beta, expected in ((1.0, 0.556939), (0.1, 0.614319)):
        policy = symmetric_flow(P, mu, beta)
        assert (policy[0, 1], policy[1, 0]) == pytest.approx(two_response_limit(0.75, mu, beta), abs=1e-5)
        assert conditioned_value(policy, P, mu) == pytest.approx(expected, abs=1e-5)


def test_gradient_flow_keeps_the_conserved_quantity_for_a_skewed_reference():
    """t1 + e^t1 + t2 + e^t2 starts at mu1/mu2 + mu2/mu1, as the logits start at -+ log(mu1/mu2)."""
    mu = np.array([0.2, 0.8])
    policy = symmetric_flow(np.array([[0.5, 0.6], [0.4, 0.5]]), mu, 0.7)
    end = conserved(logit(policy[1, 0]), logit(policy[0, 1]))
    assert end == pytest.approx(0.25 + 4, abs=1e-6)


@pytest.mark.parametrize(
    ("P", "beta", "expected"), [(W, 1.0, 0.587912), (W, 0.1, 0.686130), (BT, 1.0, 0.560228)], ids=["W", "W.1", "BT"]
)
def test_gradient_flow_for_three_responses(P, beta, expected):
    """By an independent integration; on Bradley-Terry preferences DPO, without a comparator, has .566667."""
    assert conditioned_value(symmetric_flow(P, UNIFORM, beta), P, UNIFORM) == pytest.approx(expected, abs=2e-6)
    assert value(rlhf(BT, UNIFORM, 1.0), BT, UNIFORM) == pytest.approx(0.566667, abs=1e-6)


def test_the_one_sided_flow_approaches_its_closed_form():
    """W, beta = 1: mu_i (mu_i P_ij) without i = j gives (7:1), (3:4), (9:6)."""
    expected = np.array([[0, 3 / 7, 0.6], [0.875, 0, 0.4], [0.125, 4 / 7, 0]])
    assert one_sided_limit(W, UNIFORM, 1.0) == pytest.approx(expected)
    early, late = one_sided_flow(W, UNIFORM, 1.0, np.array([0.0, 1e3, 1e11]))[1:]
    assert np.abs(late - expected).max() < 2e-4 < np.abs(early - expected).max()


def test_eq_6_column_sums_and_distances_of_the_witness():
    """TV: (2/9)(.2 + .4 + .1) = .155556."""
    assert column_sums(W, UNIFORM, 0.5) == pytest.approx([1.148148, 0.698413, 3.833333], abs=1e-6)
    for beta, cosh in ((0.5, 1.893298), (1.0, 1.172973), (0.1, 6569.878)):
        assert column_sums(W, UNIFORM, beta).mean() == pytest.approx(cosh, rel=1e-6)
    assert distance(W, UNIFORM) == pytest.approx({"total_variation": 0.155556, "kl": 0.104552}, abs=1e-6)


def test_eq_6_asked_of_different_responses_only():
    """K = 2, mu = 1/2, beta = 1/2: the sum against the loser is odds / 2: 3/4 for P12 = 3/5, so realizable, and 2 for
    4/5, so not; it is 1 where odds^(1 / 2 beta) = 2: beta = ln 1.5 / ln 4 and ln 4 / ln 4 = 1."""
    mu = np.array([0.5, 0.5])
    for p, total, beta in ((0.6, 0.75, np.log(1.5) / np.log(4)), (0.8, 2.0, 1.0)):
        P = np.array([[0.5, p], [1 - p, 0.5]])
        assert sums_without_self(P, mu, 0.5).max() == pytest.approx(total)
        assert smallest_beta(P, mu) == pytest.approx(beta)
        assert (total < 1) == (smallest_beta(P, mu) < 0.5)


def test_the_beta_above_which_a_table_is_realizable_between_different_responses():
    """W: its third column has the largest sum, 9^s + 1.5^s = 3 at s = 1 / (2 beta). Above it there is an h(y', y')
    that makes every mean 1; below there is none. And the deviation is then below the chance to draw y' twice."""
    beta = smallest_beta(W, UNIFORM)
    assert 9 ** (1 / (2 * beta)) + 1.5 ** (1 / (2 * beta)) == pytest.approx(3)
    assert 1.7 < beta < 2
    mu = np.array([0.2, 0.5, 0.3])
    for table in (W, BT, random_preferences(3, np.random.default_rng(0))):
        beta = smallest_beta(table, mu)
        assert (sums_without_self(table, mu, 1.001 * beta) < 1).all()
        assert not (sums_without_self(table, mu, 0.999 * beta) < 1).all()
        pairs = np.outer(mu, mu) * (np.cosh(logit(table) / (2 * 1.001 * beta)) - 1)
        assert pairs.sum() < (mu**2).sum()
    assert smallest_beta(np.full((3, 3), 0.5), mu) == 0
    assert smallest_beta(rock_paper_scissors(1.0), mu) is None


def test_tied_optima_are_all_kept_although_rounding_parts_them():
    """Rock-paper-scissors: S = 1/2 for all three, summed in another order each."""
    for p in (0.6, 0.7, 0.9):
        assert pi_bar(rock_paper_scissors(p), UNIFORM) == pytest.approx(UNIFORM)
    assert pi_star(np.array([[0.5, 0.3, 0.6 + 1e-12], [0.7, 0.5, 0.6], [0.4 - 1e-12, 0.4, 0.5]]))[:, 2].tolist() == [
        0.5,
        0.5,
        0,
    ]


def test_marginalized_pi_star_is_worth_less_than_pi_bar():
    """W: the mean of pi*'s columns is (1/3, 2/3, 0), worth (17 + 36)/90 = 53/90 < 3/5."""
    marginal = pi_star(W) @ UNIFORM
    assert value(marginal, W, UNIFORM) == pytest.approx(53 / 90)
    P = np.full((4, 4), 0.5)
    for i, j, p in ((0, 1, 0.2), (0, 2, 0.9), (0, 3, 0.1), (1, 2, 0.4), (1, 3, 0.7), (2, 3, 0.8)):
        P[i, j], P[j, i] = p, 1 - p
    mu = np.full(4, 0.25)
    assert value(pi_star(P) @ mu, P, mu) == pytest.approx(0.475)
