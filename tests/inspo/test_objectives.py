"""What policies are worth: exact witnesses, properties of random exact problems, and refusals by name."""

import math
import warnings
from dataclasses import fields
from fractions import Fraction
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from examples import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    WITNESS,
    distributions,
    from_upper,
    preference_matrices,
    problems,
    random_policies,
    random_problem,
    uniform,
)

from inspo import matrices
from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS, dpo, ipo
from inspo.objectives import (
    apply_psi,
    best_responses,
    conditioned_value,
    gibbs_policy,
    optimality_gap,
    population_loss,
    restricted_optima,
    scores,
    validate_distribution,
    value,
)
from inspo.pairs import PairLogps
from inspo.preferences import (
    PreferenceMatrix,
    bradley_terry,
    cyclic_triads,
    load_table,
    rock_paper_scissors,
    separability,
)

HALF = Fraction(1, 2)
ln = math.log
NONE, ONE_SIDED, SYMMETRIC, AVERAGED, ANCHORED = Conditioning


def fractions(*texts):
    return np.array([Fraction(text) for text in texts])


def one_hot(k, i):
    return np.array([Fraction(int(i == j)) for j in range(k)])


def best_response_policy(P):
    """One optimal conditioned policy, exact: all on the first best response to each comparator."""
    return np.stack([one_hot(len(P), column.argmax()) for column in best_responses(P).T], axis=1)


def refusal(function, *args, **kwargs):
    """The message of the ValueError that these arguments raise; it must be one line and come alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as caught:  # noqa: PT011, the callers compare the whole message
            function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- exact witnesses


def test_witness_prefers_another_response_for_each_psi():
    """Identity: rows sum to 17/10, 18/10, 10/10, over 3. Log-odds: ln(3/7) + ln 9, ln(7/3) + ln(3/2), -ln 9 - ln(3/2).

    So y2 is best for the identity and y1 for log-odds: 27/7 > 7/2.
    """
    mu = uniform(3)
    assert scores(WITNESS, mu).tolist() == [Fraction(17, 30), Fraction(18, 30), Fraction(10, 30)]
    assert restricted_optima(WITNESS, mu).tolist() == [False, True, False]
    expected = np.array([ln(27 / 7), ln(7 / 2), -ln(27 / 2)]) / 3
    np.testing.assert_allclose(scores(WITNESS, mu, "log_odds"), expected, rtol=1e-14)
    assert restricted_optima(WITNESS, mu, "log_odds").tolist() == [True, False, False]


def test_witness_best_responses_and_gaps():
    """Columns' maxima: 7/10 (y2), 1/2 (y2), 9/10 (y1); their mean is 7/10, the best row's 3/5.

    Log-odds: (ln(7/3) + 0 + ln 9) / 3 - ln(27/7) / 3 = ln(49/9) / 3.
    """
    mu = uniform(3)
    assert best_responses(WITNESS).tolist() == [[False, False, True], [True, True, False], [False, False, False]]
    assert conditioned_value(best_response_policy(WITNESS), WITNESS, mu) == Fraction(7, 10)
    assert value(one_hot(3, 1), WITNESS, mu) == Fraction(3, 5)
    assert optimality_gap(WITNESS, mu) == Fraction(1, 10)
    assert optimality_gap(WITNESS, mu, "log_odds") == pytest.approx(ln(49 / 9) / 3, rel=1e-14)


@pytest.mark.parametrize(
    ("third", "optimal"), [("39/100", [0, 1, 0]), ("2/5", [1, 1, 0]), ("41/100", [1, 0, 0])], ids=str
)
def test_witness_moves_with_the_reference(third, optimal):
    """mu = ((1 - m)/2, (1 - m)/2, m): S(1) - S(2) = -(1 - m)/5 + 3m/10 = 0 at m = 2/5, an exact tie."""
    m = Fraction(third)
    assert restricted_optima(WITNESS, np.array([(1 - m) / 2, (1 - m) / 2, m])).tolist() == [bool(o) for o in optimal]


def proposition(p, q=HALF):
    """The matrix of Prop. 3.1: y1, y2, a, b with P(a > b) = p and, free, P(y1 > y2) = q."""
    return from_upper(4, [q, *fractions("9/10", "1/5", "14/25", "14/25"), p])


PROPOSITION_MU = fractions("0", "0", "1/2", "1/2")


@given(st.fractions(0, 1, max_denominator=60), st.fractions(0, 1, max_denominator=60))
def test_proposition_31_scores(p, q):
    """S = (.9 + .2)/2, (.56 + .56)/2, (1/2 + p)/2, (1/2 + 1 - p)/2 whatever P(y1 > y2)."""
    expected = [Fraction(11, 20), Fraction(14, 25), (HALF + p) / 2, (Fraction(3, 2) - p) / 2]
    assert scores(proposition(p, q), PROPOSITION_MU).tolist() == expected


@pytest.mark.parametrize(
    ("p", "optimal"),
    [("37/100", [3]), ("19/50", [1, 3]), ("381/1000", [1]), ("1/2", [1]), ("31/50", [1, 2]), ("63/100", [2])],
    ids=str,
)
def test_proposition_31_holds_for_the_identity_only_inside_its_range_of_p(p, optimal):
    """14/25 > 1/4 + p/2 and > 3/4 - p/2 just when 19/50 < p < 31/50; exact ties at both ends."""
    assert np.flatnonzero(restricted_optima(proposition(Fraction(p)), PROPOSITION_MU)).tolist() == optimal


@pytest.mark.parametrize(("p", "optimal"), [(0.3, 3), (0.31, 0), (0.5, 0), (0.69, 0), (0.7, 2)])
def test_proposition_31_for_log_odds(p, optimal):
    """S = ln(9/4)/2 = ln 1.5, ln(14/11), +-logit(p)/2: y1 is best while odds < 9/4, p in (4/13, 9/13)."""
    P = proposition(p).astype(float)
    expected = [ln(1.5), ln(14 / 11), ln(p / (1 - p)) / 2, -ln(p / (1 - p)) / 2]
    np.testing.assert_allclose(scores(P, PROPOSITION_MU, "log_odds"), expected, rtol=1e-12)
    assert np.flatnonzero(restricted_optima(P, PROPOSITION_MU, "log_odds")).tolist() == [optimal]


@pytest.mark.parametrize(("p", "optimal"), [("13/100", [3]), ("2/15", [0, 3]), ("7/50", [0])], ids=str)
def test_proposition_31_for_the_skewed_reference(p, optimal):
    """mu(a) = 9/10: S(y1) = .81 + .02 = 83/100 against S(b) = 9(1 - p)/10 + 1/20: y1 wins when p > 2/15."""
    P, mu = proposition(Fraction(p)), fractions("0", "0", "9/10", "1/10")
    assert scores(P, mu)[0] == Fraction(83, 100)
    assert np.flatnonzero(restricted_optima(P, mu)).tolist() == optimal


def test_proposition_31_with_full_support():
    """e = 1/20 of mu on y1 and y2 each: S = (109/200, 277/500, 477/1000, 64/125) with p = q = 1/2."""
    mu = fractions("1/20", "1/20", "9/20", "9/20")
    assert scores(proposition(HALF), mu).tolist() == fractions("109/200", "277/500", "477/1000", "64/125").tolist()
    assert restricted_optima(proposition(HALF), mu).tolist() == [False, True, False, False]


TWO = from_upper(2, [Fraction(3, 4)])


@pytest.mark.parametrize("b", fractions("1/100", "1/4", "1/2", "17/20", "99/100"), ids=str)
def test_one_population_loss_many_values(b):
    """K = 2, P12 = 3/4, uniform, beta = 1; pi(1 given 2) = b, pi(2 given 1) = b/3.

    Value: half of 1/2 (1 - b/3) + 1/4 (b/3), plus half of 3/4 b + 1/2 (1 - b), is 1/2 + b/12.
    Loss: the logit is ln(b) - ln(b/3) = ln 3 for every b, so 1/4 (3/4 ln(4/3) + 1/4 ln 4).
    """
    policy = np.array([[1 - b / 3, b], [b / 3, 1 - b]])
    assert conditioned_value(policy, TWO, uniform(2)) == HALF + b / 12
    loss = population_loss(TWO, uniform(2), partial(dpo, beta=1.0), comparator_policy=policy)
    assert loss == pytest.approx((3 / 4 * ln(4 / 3) + 1 / 4 * ln(4)) / 4, rel=1e-12)
    assert loss == pytest.approx(0.140583786, abs=1e-9)


def test_psi_comes_before_the_mean():
    """q^2: rows sum to 115, 110, 42 hundredths, columns' maxima to 49 + 25 + 81. Squares of means would prefer y2."""
    mu = uniform(3)

    def square(q):
        return q * q

    assert scores(WITNESS, mu, square).tolist() == [Fraction(115, 300), Fraction(110, 300), Fraction(42, 300)]
    assert restricted_optima(WITNESS, mu, square).tolist() == [True, False, False]
    assert value(one_hot(3, 1), WITNESS, mu, square) == Fraction(110, 300)
    assert optimality_gap(WITNESS, mu, square) == Fraction(155 - 115, 300)


@pytest.mark.parametrize("tiny", [Fraction(1, 10**5), Fraction(1, 10**12)], ids=str)
def test_a_gap_that_one_rare_comparator_makes(tiny):
    """Against y1 and y2 the witness's best response is y2; against y3 y1 gains 9/10 - 3/5 more: 3/10 of its mass."""
    mu = np.array([(1 - tiny) / 2, (1 - tiny) / 2, tiny])
    assert optimality_gap(WITNESS, mu) == 3 * tiny / 10
    assert optimality_gap(WITNESS.astype(float), mu.astype(float)) == pytest.approx(float(3 * tiny / 10), abs=1e-15)


def test_two_responses_have_no_gap():
    """S = (1/2 + 3/4)/2 = 5/8 for the better one, which is also the best response to both."""
    assert scores(TWO, uniform(2)).max() == Fraction(5, 8)
    assert optimality_gap(TWO, uniform(2)) == 0


@pytest.mark.parametrize(
    ("u", "expected"), [("1/10", "61/120"), ("6/7", "4/7"), ("1", "7/12")], ids=["1/10", "6/7", "1"]
)
def test_rock_paper_scissors_family_of_minimizers(u, expected):
    """p = 2/3, beta = 1/2: pi(i given j) = u/3 odds_ij off the diagonal; odds 2 and 1/2.

    V = 1/2 + u/3 (2 (2/3 - 1/2) + 1/2 (1/3 - 1/2)) = 1/2 + u/12.
    Loss: the logit is 1/2 ln 4 = ln 2 in all: 3/9 (2/3 ln(3/2) + 1/3 ln 3).
    """
    P, u = rock_paper_scissors(Fraction(2, 3)), Fraction(u)
    policy = u / 3 * P / (1 - P) * (1 - np.eye(3, dtype=int))
    policy = policy + np.diag(1 - policy.sum(axis=0))
    assert conditioned_value(policy, P, uniform(3)) == Fraction(expected) == HALF + u / 12
    loss = population_loss(P, uniform(3), partial(dpo, beta=0.5), comparator_policy=policy)
    assert loss == pytest.approx((2 / 3 * ln(3 / 2) + 1 / 3 * ln(3)) / 3, rel=1e-12)
    assert optimality_gap(P, uniform(3)) == Fraction(1, 6)


def test_largest_gap_of_the_identity():
    """Certain rock-paper-scissors: something beats each comparator surely, and every row averages 1/2."""
    assert optimality_gap(rock_paper_scissors(Fraction(1)), uniform(3)) == HALF


def test_common_best_response_closes_the_gap_without_separability():
    """P12 = 4/5, P13 = 3/4, P23 = 7/10: y1 is best against all, though no scores can order the three odds."""
    P = from_upper(3, fractions("4/5", "3/4", "7/10"))
    assert best_responses(P)[0].all()
    assert optimality_gap(P, fractions("1/7", "2/7", "4/7")) == 0


# ---------------------------------------------------------------- value


def test_value_is_the_chance_to_beat_the_comparator():
    """Policy (1/2, 1/2, 0), mu = (0, 1/4, 3/4): 1/2 (3/40 + 27/40) + 1/2 (1/8 + 9/20) = 53/80."""
    policy, mu = fractions("1/2", "1/2", "0"), fractions("0", "1/4", "3/4")
    assert value(policy, WITNESS, mu) == Fraction(53, 80)


def test_value_of_the_reference_against_itself_is_one_half():
    mu = fractions("1/2", "1/3", "1/6")
    assert value(mu, WITNESS, mu) == HALF
    assert value(mu.astype(float), WITNESS.astype(float), mu.astype(float)) == pytest.approx(0.5, abs=1e-15)


@given(problems(), st.data())
def test_policy_that_ignores_the_comparator_is_worth_as_much_as_without_one(problem, data):
    P, mu = problem
    policy = data.draw(distributions(len(mu)))
    assert conditioned_value(np.tile(policy[:, None], (1, len(mu))), P, mu) == value(policy, P, mu)


@given(problems(), st.data())
def test_value_is_linear_in_scores(problem, data):
    P, mu = problem
    policy = data.draw(distributions(len(mu)))
    assert value(policy, P, mu) == (policy * scores(P, mu)).sum()


def test_value_takes_the_column_for_the_comparator():
    """mu all on y3: only the third column, pi(. given y3) = all on y1, counts: P13 = 9/10."""
    policy = fractions("0", "0", "1", "1", "1", "0", "0", "0", "0").reshape(3, 3)
    assert conditioned_value(policy, WITNESS, one_hot(3, 2)) == Fraction(9, 10)


def test_exact_input_gives_exact_output():
    mu = uniform(3)
    found = [
        value(mu, WITNESS, mu),
        conditioned_value(np.tile(mu[:, None], (1, 3)), WITNESS, mu),
        optimality_gap(WITNESS, mu),
        *scores(WITNESS, mu),
        *scores(WITNESS, mu, lambda q: q * q),
    ]
    assert all(isinstance(entry, Fraction) for entry in found)


@pytest.mark.parametrize("function", [scores, optimality_gap, lambda P, mu, psi: value(mu, P[0], mu, psi)])
@pytest.mark.parametrize(
    ("P", "mu", "psi"),
    [
        (np.stack([WITNESS] * 2), np.full(3, 1 / 3), "identity"),
        (np.stack([WITNESS] * 2).astype(float), uniform(3), "identity"),
        (np.stack([WITNESS] * 2), uniform(3), "log_odds"),
    ],
    ids=["exact P", "exact mu", "exact but log-odds"],
)
def test_partly_exact_input_gives_plain_floats(function, P, mu, psi):
    assert np.asarray(function(P, mu, psi)).dtype == np.float64


# ---------------------------------------------------------------- properties of the gap


@given(problems())
def test_gap_is_never_negative(problem):
    assert optimality_gap(*problem) >= 0


@given(problems(interior=True))
def test_gap_is_never_negative_for_log_odds(problem):
    assert optimality_gap(*problem, "log_odds") >= -1e-12


@given(problems())
def test_gap_is_what_knowing_the_comparator_is_worth(problem):
    P, mu = problem
    best_restricted = max(value(one_hot(len(mu), i), P, mu) for i in range(len(mu)))
    assert conditioned_value(best_response_policy(P), P, mu) - best_restricted == optimality_gap(P, mu)


@given(problems())
def test_gap_is_zero_exactly_with_a_common_best_response_on_the_support(problem):
    P, mu = problem
    common = best_responses(P)[:, mu > 0].all(axis=1).any()
    assert (optimality_gap(P, mu) == 0) == common


@given(problems(), st.data())
def test_no_policy_beats_the_optima(problem, data):
    P, mu = problem
    k = len(mu)
    prompt_only = data.draw(distributions(k))
    conditioned = np.stack([data.draw(distributions(k)) for _ in range(k)], axis=1)
    best_restricted = scores(P, mu).max()
    assert value(prompt_only, P, mu) <= best_restricted
    assert conditioned_value(conditioned, P, mu) <= best_restricted + optimality_gap(P, mu)


@given(problems())
def test_every_mixture_of_restricted_optima_is_optimal(problem):
    P, mu = problem
    optimal = restricted_optima(P, mu)
    mixture = np.array([Fraction(int(o), int(optimal.sum())) for o in optimal])
    assert value(mixture, P, mu) == scores(P, mu).max()
    assert all(value(one_hot(len(mu), i), P, mu) < scores(P, mu).max() for i in np.flatnonzero(~optimal))


@given(preference_matrices(4, interior=True))
def test_best_responses_are_the_same_for_every_increasing_psi(P):
    """Thm 3.2 (i): compare with the columns' maxima of cubes and of log-odds, formed here."""
    for transformed in (P**3, P / (1 - P)):
        assert (best_responses(P) == (transformed == transformed.max(axis=0))).all()


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=5), st.data())
def test_separable_preferences_have_no_gap(rewards, data):
    mu = data.draw(distributions(len(rewards))).astype(float)
    assert optimality_gap(bradley_terry(rewards), mu) == pytest.approx(0, abs=1e-12)
    assert optimality_gap(bradley_terry(rewards), mu, "log_odds") == pytest.approx(0, abs=1e-12)


def test_atol_lets_near_ties_count():
    """Scores 17/30, 18/30, 10/30: y1 is 1/30 short of the best. Column 2 of P: 3/10, 5/10, 4/10."""
    mu = uniform(3)
    short = Fraction(1, 30)
    assert restricted_optima(WITNESS, mu, atol=short).tolist() == [True, True, False]
    assert restricted_optima(WITNESS, mu, atol=short - Fraction(1, 10**9)).tolist() == [False, True, False]
    assert best_responses(WITNESS, atol=Fraction(1, 10))[:, 1].tolist() == [False, True, True]
    assert restricted_optima(WITNESS, mu, atol=0.0).tolist() == [False, True, False]
    assert refusal(restricted_optima, WITNESS, mu, atol=-1).startswith("atol = -1")
    assert refusal(best_responses, WITNESS, atol=math.nan).startswith("atol = nan")


@pytest.mark.parametrize(
    "psi", ["identity", "log_odds", lambda q: 1e6 * q**3 + 1e9], ids=["identity", "log-odds", "cubic"]
)
def test_rounding_breaks_no_tie_of_floats(psi):
    """Rock-paper-scissors under a uniform reference ties all three. .6 and 6 times .1 are one number, rounded."""
    cycles = np.stack([rock_paper_scissors(p) for p in (0.55, 0.6, 2 / 3, 0.7, 0.8, 0.9)])
    assert restricted_optima(cycles, [1 / 3] * 3, psi).all()
    rounded = 6 * 0.1
    P = [[0.5, 0.4, 1 - rounded], [0.6, 0.5, 0.5], [rounded, 0.5, 0.5]]
    assert P[1][0] != rounded
    assert best_responses(P)[:, 0].tolist() == [False, True, True]


def test_ties_of_floats_are_rounding_alone():
    """Off by 1e-9 is no tie unless atol says so, and rationals are never rounded."""
    near = from_upper(3, [HALF + Fraction(1, 10**9), HALF, HALF])
    assert restricted_optima(near.astype(float), [1 / 3] * 3).tolist() == [True, False, False]
    assert best_responses(near.astype(float))[:, 1].tolist() == [True, False, False]
    assert best_responses(near.astype(float), atol=1e-8).all()
    nearer = from_upper(3, [HALF + Fraction(1, 10**15), HALF, HALF])
    assert best_responses(nearer.astype(float)).all()
    assert best_responses(nearer)[:, 1].tolist() == [True, False, False]
    assert restricted_optima(nearer, uniform(3)).tolist() == [True, False, False]


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("shared_mu", [False, True], ids=["own mu", "shared mu"])
@pytest.mark.parametrize("psi", ["identity", "log_odds", np.sqrt], ids=str)
def test_batches_agree_with_a_loop(psi, shared_mu):
    rng = np.random.default_rng(1)
    P, mu = random_problem(rng, 4, 2, 3)
    mu = mu[0, 0] if shared_mu else mu
    prompt_only = random_policies(rng, 2, 3, 4, 1)[..., 0]
    conditioned = random_policies(rng, 2, 3, 4, 4)
    for index in np.ndindex(2, 3):
        own = (P[index], mu if shared_mu else mu[index], psi)
        for batched, alone in (
            (value(prompt_only, P, mu, psi), value(prompt_only[index], *own)),
            (conditioned_value(conditioned, P, mu, psi), conditioned_value(conditioned[index], *own)),
            (scores(P, mu, psi), scores(*own)),
            (optimality_gap(P, mu, psi), optimality_gap(*own)),
            (restricted_optima(P, mu, psi), restricted_optima(*own)),
            (best_responses(P), best_responses(P[index])),
            (gibbs_policy(P, mu, 0.3), gibbs_policy(P[index], own[1], 0.3)),
        ):
            np.testing.assert_allclose(batched[index], alone, rtol=1e-14)


@pytest.mark.parametrize("conditioning", Conditioning)
def test_population_loss_of_a_batch_agrees_with_a_loop(conditioning):
    rng = np.random.default_rng(2)
    P, mu = random_problem(rng, 3, 4)
    policies = {
        "prompt_policy": random_policies(rng, 4, 3, 1)[..., 0],
        "comparator_policy": random_policies(rng, 4, 3, 3),
    }
    loss = partial(dpo, beta=0.7)
    batched = population_loss(P, mu, loss, conditioning, **policies)
    for i in range(4):
        own = {name: policy[i] for name, policy in policies.items()}
        assert batched[i] == pytest.approx(population_loss(P[i], mu[i], loss, conditioning, **own), rel=1e-12)


# ---------------------------------------------------------------- the Gibbs policy


def gibbs_objective(policy, reward, mu, beta):
    """Eq. (7) for one comparator: expected reward minus beta times KL(pi || mu)."""
    positive = policy > 0
    kl = (policy[positive] * np.log(policy[positive] / mu[positive])).sum()
    return (policy * reward).sum() - beta * kl


def test_gibbs_policy_by_hand():
    """mu = (1/2, 1/4, 1/4), reward = beta (0, ln 2, ln 6): weights 1/2, 1/2, 3/2, so (1/5, 1/5, 3/5)."""
    reward = 0.7 * np.log([1, 2, 6])
    np.testing.assert_allclose(gibbs_policy(reward, [0.5, 0.25, 0.25], 0.7), [0.2, 0.2, 0.6], rtol=1e-14)


def test_gibbs_policy_gives_each_comparator_its_own_column():
    rng = np.random.default_rng(3)
    reward, mu = rng.normal(size=(4, 4)), random_policies(rng, 4, 1)[:, 0]
    policy = gibbs_policy(reward, mu, 0.5)
    for j in range(4):
        np.testing.assert_allclose(policy[:, j], gibbs_policy(reward[:, j], mu, 0.5), rtol=1e-14)
    np.testing.assert_allclose(policy.sum(axis=0), 1, rtol=1e-14)


@given(st.integers(2, 5), st.floats(0.05, 5), st.integers(0, 10**6))
def test_gibbs_policy_beats_random_policies_on_its_own_objective(k, beta, seed):
    """And reaches beta log Z, Z = sum_i mu_i exp(r_i / beta), which is the most there is."""
    rng = np.random.default_rng(seed)
    reward, mu = rng.normal(size=(k, k)), random_policies(rng, k, 1)[:, 0]
    policy = gibbs_policy(reward, mu, beta)
    for j in range(k):
        best = gibbs_objective(policy[:, j], reward[:, j], mu, beta)
        log_z = np.log((mu * np.exp(reward[:, j] / beta)).sum())
        assert best == pytest.approx(beta * log_z, rel=1e-9, abs=1e-9)
        for rival in random_policies(rng, 20, k, 1)[..., 0]:
            assert gibbs_objective(rival, reward[:, j], mu, beta) <= best + 1e-12


def test_gibbs_policy_between_its_limits():
    mu, reward = np.array([0.7, 0.2, 0.1]), np.array([1.0, 1.5, 3.0])
    np.testing.assert_allclose(gibbs_policy(reward, mu, 1e9), mu, rtol=1e-8)
    np.testing.assert_array_equal(gibbs_policy(reward, mu, 1e-4), [0, 0, 1])
    np.testing.assert_allclose(gibbs_policy(reward + 100, mu, 0.5), gibbs_policy(reward, mu, 0.5), rtol=1e-12)


def test_gibbs_policy_of_a_hardly_possible_response():
    """log 1e-200 + 2000 against 0: all on the first, though both weights underflow as they stand."""
    policy = gibbs_policy([2000.0, 0.0], [1e-200, 1.0], beta=1.0)
    assert policy.tolist() == [1.0, 0.0]


def test_gibbs_policy_never_leaves_the_support_of_the_reference():
    np.testing.assert_allclose(gibbs_policy([100.0, 0, 0], [0, 0.25, 0.75], 0.1), [0, 0.25, 0.75], rtol=1e-14)


@pytest.mark.parametrize("beta", [1e-300, 5e-324])
def test_gibbs_policy_at_a_vanishing_beta_is_the_best_response(beta):
    np.testing.assert_array_equal(gibbs_policy([1e10, 0, 0], np.full(3, 1 / 3), beta), [1, 0, 0])


@pytest.mark.parametrize("beta", [0, -1.0, math.nan])
def test_gibbs_policy_needs_a_positive_beta(beta):
    assert refusal(gibbs_policy, [0.0, 1.0], [0.5, 0.5], beta) == f"beta = {beta} must be > 0"


def test_gibbs_policy_refuses_bad_rewards():
    assert "reward[1, 0] = nan" in refusal(gibbs_policy, [[0, 1], [math.nan, 0]], [0.5, 0.5], 1.0)
    assert "reward[0] = inf" in refusal(gibbs_policy, [math.inf, 1], [0.5, 0.5], 1.0)
    assert "does not fit mu" in refusal(gibbs_policy, np.zeros((3, 3)), [0.5, 0.5], 1.0)
    assert "mu sums to 0.9" in refusal(gibbs_policy, [0.0, 1.0], [0.5, 0.4], 1.0)


# ---------------------------------------------------------------- population losses


def population_dpo(P, nu, beta, chosen, rejected):
    """E over i != j of P[i, j] log(1 + exp(-beta (chosen - rejected))), log-ratios given as functions of (i, j)."""
    total = 0.0
    for i in range(len(P)):
        for j in range(len(P)):
            if i != j:
                margin = beta * (chosen(i, j) - rejected(i, j))
                total += nu[i] * nu[j] * P[i, j] * np.log1p(np.exp(-margin))
    return total


@given(st.integers(2, 8), st.floats(0.05, 3), st.integers(0, 10**6), st.booleans())
@settings(max_examples=50)
def test_population_dpo_agrees_with_a_double_loop(k, beta, seed, own_sampling):
    rng = np.random.default_rng(seed)
    P, mu = random_problem(rng, k)
    plain, cross, ref_cross = random_policies(rng, k, 1)[:, 0], random_policies(rng, k, k), random_policies(rng, k, k)
    nu = random_policies(rng, k, 1)[:, 0] if own_sampling else mu
    logs = np.log(plain / mu)
    by_context = {
        ReferenceContext.PLAIN: np.log(cross / mu[:, None]),
        ReferenceContext.CONDITIONED: np.log(cross / ref_cross),
    }
    for reference, ratio in by_context.items():
        expected = {
            NONE: population_dpo(P, nu, beta, lambda i, _: logs[i], lambda _, j: logs[j]),
            ONE_SIDED: population_dpo(P, nu, beta, lambda i, j, r=ratio: r[i, j], lambda _, j, r=ratio: r[j, j]),
            SYMMETRIC: population_dpo(P, nu, beta, lambda i, j, r=ratio: r[i, j], lambda i, j, r=ratio: r[j, i]),
        }
        expected[AVERAGED] = (expected[NONE] + expected[SYMMETRIC]) / 2
        other_side = population_dpo(P, nu, beta, lambda i, _, r=ratio: r[i, i], lambda i, j, r=ratio: r[j, i])
        expected[ANCHORED] = (expected[ONE_SIDED] + other_side) / 2
        for conditioning in Conditioning:
            found = population_loss(
                P,
                mu,
                partial(dpo, beta=beta),
                conditioning,
                prompt_policy=plain,
                comparator_policy=cross,
                reference=reference,
                reference_comparator_policy=ref_cross,
                pair_distribution=nu if own_sampling else None,
            )
            assert found == pytest.approx(expected[conditioning], rel=1e-10), (conditioning, reference)


def test_population_loss_of_every_method_is_the_mean_over_pairs(method, loss):
    """The same pairs one by one: each response one token long, so a mean per token is the sum."""
    rng = np.random.default_rng(4)
    P, mu = random_problem(rng, 3)
    cross = random_policies(rng, 3, 3)
    expected = 0.0
    for i, j in np.ndindex(3, 3):
        if i != j:
            numbers = (cross[i, j], cross[j, i], mu[i], mu[j])
            pair = PairLogps(*torch.tensor(numbers, dtype=torch.float64).log()[:, None], *torch.ones(2, 1))
            expected += mu[i] * mu[j] * P[i, j] * loss(pair).item()
    found = population_loss(P, mu, partial(METHODS[method].loss, **EXAMPLES[method]), comparator_policy=cross)
    assert found == pytest.approx(expected, rel=1e-12)


def test_policy_equal_to_reference_costs_ln_2_for_every_conditioning():
    """Half the chance that two draws differ, times ln 2."""
    mu = fractions("1/2", "1/3", "1/6")
    copies = np.tile(mu[:, None], (1, 3))
    for conditioning in Conditioning:
        found = population_loss(
            WITNESS, mu, partial(dpo, beta=0.3), conditioning, prompt_policy=mu, comparator_policy=copies
        )
        assert found == pytest.approx(float(1 - (mu**2).sum()) / 2 * ln(2), rel=1e-12)


def test_gibbs_policy_of_bradley_terry_rewards_minimizes_population_dpo():
    """DPO's population loss over prompt-only policies is least at mu exp(r / beta) when P is Bradley-Terry in r."""
    rng = np.random.default_rng(5)
    rewards, mu = rng.normal(size=4), random_policies(rng, 4, 1)[:, 0]
    loss = partial(population_loss, bradley_terry(rewards), mu, partial(dpo, beta=0.5), NONE)
    best = gibbs_policy(rewards, mu, 0.5)
    least = loss(prompt_policy=best)
    for rival in random_policies(rng, 50, 4, 1)[..., 0]:
        mixture = 0.9 * best + 0.1 * rival
        assert loss(prompt_policy=mixture) > least


@given(st.integers(2, 6), st.floats(0.1, 3), st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_anchored_loss_is_least_at_the_gibbs_policy_of_the_log_odds(k, beta, seed):
    """Eq. (7) with r = L; also for cyclic P, and nowhere else: every step away costs."""
    rng = np.random.default_rng(seed)
    P, mu = random_problem(rng, k)
    best = gibbs_policy(apply_psi(P, "log_odds"), mu, beta)
    loss = partial(population_loss, P, mu, partial(dpo, beta=beta), ANCHORED)
    least = loss(comparator_policy=best)
    # Every pair is at its least, the entropy of its label, once with either response in view.
    entropy = -(P * np.log(P) + (1 - P) * np.log(1 - P))
    assert least == pytest.approx((np.outer(mu, mu) * entropy)[~np.eye(k, dtype=bool)].sum() / 2, rel=1e-9)
    for rival in random_policies(rng, 10, k, k):
        assert loss(comparator_policy=0.9 * best + 0.1 * rival) > least


@given(st.integers(2, 6), st.floats(0.1, 3), st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_anchored_square_is_least_at_the_gibbs_policy_of_the_preferences(k, tau, seed):
    """IPO's loss: Eq. (4) for psi = identity with a KL penalty, a policy that sees the comparator; P may be 0 or 1."""
    rng = np.random.default_rng(seed)
    P, mu = random_problem(rng, k)
    P = np.where(rng.random((k, k)) < 0.5, P, np.round(P))
    P = np.where(np.tri(k, k, -1, dtype=bool), 1 - P.T, P)
    np.fill_diagonal(P, 0.5)
    best = gibbs_policy(P, mu, tau)
    loss = partial(population_loss, P, mu, partial(ipo, tau=tau), ANCHORED)
    for rival in random_policies(rng, 10, k, k):
        assert loss(comparator_policy=0.9 * best + 0.1 * rival) > loss(comparator_policy=best)


def test_responses_that_never_occur_cost_nothing():
    """mu = (1/2, 1/2, 0): the third response, however unlikely, is in no pair."""
    mu, policy = [0.5, 0.5, 0], [0.75, 0.25, 0]
    found = population_loss(WITNESS, mu, partial(dpo, beta=1.0), NONE, prompt_policy=policy)
    assert found == pytest.approx((0.3 * ln(4 / 3) + 0.7 * ln(4)) / 4, rel=1e-12)


@pytest.mark.parametrize("policy", [[0, 0.5, 0.5], [1, 0, 0], [0, 1, 0]], ids=str)
def test_impossible_response_that_occurs_costs_infinity(policy):
    """Also when both responses of a pair are impossible, so that their difference is undefined."""
    assert population_loss(WITNESS, [1 / 3] * 3, partial(dpo, beta=1.0), NONE, prompt_policy=policy) == math.inf


def test_population_loss_names_the_missing_policy():
    loss = partial(population_loss, WITNESS, uniform(3), partial(dpo, beta=1.0))
    assert "give a prompt-only policy" in refusal(loss, NONE)
    for conditioning in (ONE_SIDED, SYMMETRIC, ANCHORED):
        assert "give a policy conditioned on a comparator" in refusal(loss, conditioning, prompt_policy=uniform(3))
    assert "conditioned on a comparator" in refusal(loss, AVERAGED, prompt_policy=uniform(3))
    assert "conditioned on a comparator" in refusal(
        loss, SYMMETRIC, comparator_policy=best_response_policy(WITNESS), reference=ReferenceContext.CONDITIONED
    )


WRONG_SIZES = {
    "prompt policy": {"conditioning": NONE, "prompt_policy": [0.5, 0.5]},
    "comparator policy": {"comparator_policy": [[0.5, 0.5], [0.5, 0.5]]},
    "vector for a table": {"comparator_policy": [0.25, 0.25, 0.5]},
    "pair distribution": {"conditioning": NONE, "prompt_policy": uniform(3), "pair_distribution": [0.5, 0.5]},
}


@pytest.mark.parametrize("arguments", WRONG_SIZES.values(), ids=WRONG_SIZES)
def test_population_loss_refuses_tables_of_another_size(arguments):
    refusal(population_loss, WITNESS, uniform(3), partial(dpo, beta=1.0), **arguments)


# ---------------------------------------------------------------- psi and bad input


def test_psi_by_name_and_by_function_agree():
    P = WITNESS.astype(float)
    np.testing.assert_array_equal(apply_psi(P, "identity"), P)
    np.testing.assert_allclose(apply_psi(P, "log_odds"), np.log(P / (1 - P)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(apply_psi(P, lambda q: q**2), P**2, rtol=1e-15)


@pytest.mark.parametrize(("p", "log_odds"), [(1e-6, -13.815509557963774), (1e-9, -20.723265835946414)])
def test_log_odds_of_extreme_preferences(p, log_odds):
    """-6 ln 10 + 1e-6 and -9 ln 10 + 1e-9, ln 10 = 2.302585092994046; 1 - p is itself rounded."""
    found = apply_psi([[0.5, p], [1 - p, 0.5]], "log_odds")
    assert found[0, 1] == pytest.approx(log_odds, rel=1e-14)
    assert found[1, 0] == pytest.approx(-log_odds, abs=1e-7)


@pytest.mark.parametrize("exact", [False, True], ids=["float", "exact"])
@pytest.mark.parametrize("psi", [math.log, lambda q: 1.0 if q > 0.5 else 0.0], ids=["log", "step"])
def test_a_function_of_one_number_is_made_one_of_arrays_by_numpy(psi, exact):
    P = WITNESS if exact else WITNESS.astype(float)
    found = apply_psi(P, np.frompyfunc(psi, 1, 1))
    assert found.dtype == np.float64
    for index in np.ndindex(3, 3):
        assert found[index] == psi(P[index])


@pytest.mark.parametrize("constant", [0.0, 0.1, HALF], ids=str)
def test_constant_psi_makes_everything_optimal(constant):
    mu = fractions("1/2", "1/3", "1/6")
    assert restricted_optima(WITNESS, mu, lambda q: np.full_like(q, constant)).all()
    assert optimality_gap(WITNESS, mu, lambda q: np.full_like(q, constant)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("psi", [np.mean, np.max, lambda _: 0.5, lambda q: q.sum(axis=-1), np.ravel, np.diag])
@pytest.mark.parametrize("P", [WITNESS, WITNESS.astype(float), np.stack([WITNESS.astype(float)] * 2)[:, None]])
def test_psi_that_does_not_take_each_entry_for_itself_is_refused(psi, P):
    if psi is not np.diag or P.ndim == 2:
        message = refusal(scores, P, uniform(3), psi)
        assert message.startswith("psi made shape (")
        assert "np.full_like(q, c)" in message


def test_exact_psi_keeps_exact_preferences():
    assert apply_psi(WITNESS, lambda q: q / (1 - q))[0, 2] == 9


def test_psi_may_round_exact_preferences():
    found = value(uniform(3), WITNESS, uniform(3), lambda q: np.log(q.astype(float)))
    assert found == pytest.approx(np.log(WITNESS.astype(float)).mean(), rel=1e-14)


CERTAIN = np.array([[0.5, 1.0], [0.0, 0.5]])
EXACTLY_CERTAIN = np.array([[HALF, Fraction(1)], [Fraction(0), HALF]])


@pytest.mark.parametrize(
    ("P", "psi"),
    [
        (CERTAIN, "log_odds"),
        (EXACTLY_CERTAIN, "log_odds"),
        (CERTAIN, lambda q: np.log(q) - np.log1p(-q)),
        (CERTAIN, lambda q: q / (1 - q)),
        (EXACTLY_CERTAIN, lambda q: 1 / (1 - q.astype(float))),
    ],
)
def test_infinite_psi_is_refused_by_the_offending_entry(P, psi):
    assert "P[0, 1] = 1" in refusal(value, [1, 0], P, [0.5, 0.5], psi)


def test_exact_psi_that_divides_by_zero_is_refused():
    """Rationals have no infinity that could tell the entry."""
    assert "psi is undefined on P (Fraction(1, 0))" in refusal(apply_psi, EXACTLY_CERTAIN, lambda q: q / (1 - q))


def test_unknown_psi_is_refused():
    assert refusal(scores, WITNESS, uniform(3), "logit").startswith("psi = 'logit' must be")


BAD_MU = {
    "sum": ([0.5, 0.4, 0.2], "mu sums to 1.1"),
    "negative": ([0.5, -0.5, 1.0], "mu[1] = -0.5 is not a probability"),
    "NaN": ([0.5, math.nan, 0.5], "mu[1] = nan is not a probability"),
    "exact sum": ([HALF, HALF, Fraction(1, 10**12)], "mu sums to 1000000000001/1000000000000"),
    "size": ([0.5, 0.5], "mu of shape (2,) does not fit P of shape (3, 3)"),
    "table": (np.full((3, 3), 1 / 3), "mu of shape (3, 3) does not fit"),
    "nothing": ([0.5, 0.5, None], "mu[2] is None"),
    "text": (["a", "b", "c"], "mu"),
}


@pytest.mark.parametrize(("mu", "offence"), BAD_MU.values(), ids=BAD_MU)
@pytest.mark.parametrize("function", [scores, restricted_optima, optimality_gap])
def test_reference_that_is_no_distribution_is_refused(function, mu, offence):
    assert offence in refusal(function, WITNESS, mu)
    assert offence in refusal(value, uniform(3), WITNESS, mu)


COLUMNS = [[0.5, 0.1, 0.1], [0.25, 0.8, 0.1], [0.25, 0.1, 0.8]]
BAD_POLICIES = {
    "rows sum to one": (
        np.transpose(COLUMNS),
        "rows sum to 1, not its columns: if row j is pi(. | x, y_j), transpose it; if each row is a prompt-only policy",
    ),
    "one column off": ([[0.5, 0.1, 0.2], *COLUMNS[1:]], "policy at [2] sums to 1.1"),
    "negative": ([[-0.5, 0.1, 0.1], [1.25, 0.8, 0.1], [0.25, 0.1, 0.8]], "policy[0, 0] = -0.5"),
    "not square": (np.full((3, 2), 1 / 3), "must be square, (..., K, K), got shape (3, 2)"),
    "size of the table": (np.full((2, 2), 1 / 2), "policy has 2 responses, P has 3"),
    "axes": (np.full((2, 3, 3), 1 / 3), "policy of shape (2, 3, 3) fits no P of shape (3, 3)"),
    "prompt-only": ([1 / 3] * 3, "policy of shape (3,) fits no P of shape (3, 3): give (..., K, K)"),
}


@pytest.mark.parametrize(("policy", "offence"), BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_bad_conditioned_policy_is_refused(policy, offence):
    assert offence in refusal(conditioned_value, policy, WITNESS.astype(float), [1 / 3] * 3)


BAD_PROMPT_POLICIES = {
    "size": ([0.5, 0.5], "policy has 2 responses, P has 3"),
    "sum": ([0.5, 0.4, 0.2], "policy sums to 1.1"),
    "negative": ([-0.5, 0.5, 1], "policy[0] = -0.5"),
    "axes": (np.full((2, 3, 3), 1 / 3), "policy of shape (2, 3, 3) fits no P of shape (3, 3): give (..., K)"),
    "number": (0.5, "policy of shape () fits no P"),
    "columns": (COLUMNS, "conditioned_value takes policies that see the comparator"),
    "rows": (np.transpose(COLUMNS), "give several prompt-only ones against one P with P[None]"),
}


@pytest.mark.parametrize(("policy", "offence"), BAD_PROMPT_POLICIES.values(), ids=BAD_PROMPT_POLICIES)
def test_bad_prompt_only_policy_is_refused(policy, offence):
    assert offence in refusal(value, policy, WITNESS.astype(float), [1 / 3] * 3)


def test_a_square_table_is_read_as_the_function_says():
    """Cyclic permutations: rows and columns sum to one. Row by row W's scores of y2, y3, y1; by columns 1/3.

    Columns: y3 against y1, y1 against y2, y2 against y3: (1/10 + 3/10 + 3/5) / 3.
    """
    rotation = fractions("0", "1", "0", "0", "0", "1", "1", "0", "0").reshape(3, 3)
    assert conditioned_value(rotation, WITNESS, uniform(3)) == Fraction(1, 3)
    assert value(rotation, WITNESS[None], uniform(3)).tolist() == fractions("3/5", "1/3", "17/30").tolist()
    assert "as many axes as P" in refusal(value, rotation, WITNESS, uniform(3))
    assert "fits no P" in refusal(conditioned_value, rotation, WITNESS[None], uniform(3))


def test_losses_of_several_prompt_only_policies_against_one_problem():
    policies = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    loss = partial(dpo, beta=0.7)
    found = population_loss(WITNESS[None], uniform(3), loss, NONE, prompt_policy=policies)
    assert found.tolist() == [population_loss(WITNESS, uniform(3), loss, NONE, prompt_policy=p) for p in policies]


def test_rows_for_columns_are_refused_in_a_batch_and_in_population_losses():
    rows = np.transpose(COLUMNS)
    P = np.stack([WITNESS.astype(float)] * 2)
    assert "transpose" in refusal(conditioned_value, np.stack([rows] * 2), P, [1 / 3] * 3)
    assert "transpose" in refusal(population_loss, WITNESS, uniform(3), partial(dpo, beta=1.0), comparator_policy=rows)


@pytest.mark.parametrize("function", [scores, optimality_gap, restricted_optima])
def test_bad_preferences_are_refused_by_name(function):
    assert "P[0, 1] + P[1, 0]" in refusal(function, [[0.5, 0.7], [0.4, 0.5]], [0.5, 0.5])
    assert "P[0, 1] = 1.5" in refusal(function, [[0.5, 1.5], [-0.5, 0.5]], [0.5, 0.5])


def test_distributions_are_checked_along_the_given_axis():
    columns = np.array(COLUMNS)
    np.testing.assert_array_equal(validate_distribution(columns, "pi", axis=-2), columns)
    assert "pi at [0] sums to 0.7" in refusal(validate_distribution, columns, "pi")


def test_rounding_in_a_distribution_is_tolerated():
    assert validate_distribution([0.7, 0.2, 0.1], "mu").sum() != 1


CHECKED_BY = {
    "value": lambda P: value([0.5, 0.5], P, [0.5, 0.5]),
    "conditioned_value": lambda P: conditioned_value(np.full((2, 2), 0.5), P, [0.5, 0.5], "log_odds"),
    "scores": lambda P: scores(P, [0.5, 0.5]),
    "restricted_optima": lambda P: restricted_optima(P, [0.5, 0.5], "log_odds"),
    "best_responses": best_responses,
    "optimality_gap": lambda P: optimality_gap(P, [0.5, 0.5], lambda q: q * q),
    "population_loss": lambda P: population_loss(
        P, [0.5, 0.5], partial(dpo, beta=1.0), comparator_policy=np.full((2, 2), 0.5)
    ),
    "apply_psi": lambda P: apply_psi(P, "identity"),
    "cyclic_triads": cyclic_triads,
    "separability": lambda P: separability(P).scores,
}


def test_a_matrix_is_checked_once_at_the_door():
    """A plain array by each function, one time; a PreferenceMatrix when it is made and never again."""
    check = matrices._checked  # noqa: SLF001, what must not be called again
    with patch.object(matrices, "_checked", side_effect=check) as checked:
        for name, function in CHECKED_BY.items():
            checked.reset_mock()
            of_array = function(TWO)
            assert checked.call_count == 1, name
            matrix = PreferenceMatrix(TWO)
            checked.reset_mock()
            np.testing.assert_array_equal(function(matrix), of_array)
            assert checked.call_count == 0, name


def test_a_checked_matrix_keeps_rationals_exact():
    assert conditioned_value(best_response_policy(WITNESS), PreferenceMatrix(WITNESS), uniform(3)) == Fraction(7, 10)


# ---------------------------------------------------------------- published human tables


@pytest.mark.parametrize(
    ("name", "best", "restricted", "conditioned"),
    [
        ("celebrities_1971", "LBJ", 0.6890, 0.6952),
        ("school_subjects_1940_girls", "gymn", 0.7218, 0.7491),
        ("school_subjects_1940_boys", "wood", 0.8114, 0.8260),
        ("weights_1975", "110g", 0.7860, 0.7860),
    ],
)
def test_human_tables_have_the_gaps_their_counts_give(name, best, restricted, conditioned, shared_data):
    """Four-digit values computed from the counts by hand-written loops, uniform reference."""
    table = load_table(shared_data / "human_preferences" / f"{name}.json")
    k = len(table.labels)
    exact = np.full((k, k), HALF)
    for i, j in np.ndindex(k, k):
        if i != j:
            exact[i, j] = Fraction(int(table.counts[i, j]), int(table.counts[i, j] + table.counts[j, i]))
    optimal = restricted_optima(exact, uniform(k))
    assert [table.labels[i] for i in np.flatnonzero(optimal)] == [best]
    assert float(scores(exact, uniform(k)).max()) == pytest.approx(restricted, abs=5e-5)
    assert float(conditioned_value(best_response_policy(exact), exact, uniform(k))) == pytest.approx(
        conditioned, abs=5e-5
    )
    assert optimality_gap(table.P, np.full(k, 1 / k)) == pytest.approx(
        float(optimality_gap(exact, uniform(k))), abs=1e-14
    )


def test_population_losses_give_the_loss_every_field():
    """A loss that notes which fields are there, and costs 1 a pair: half the chance 2/3 that two draws differ."""
    seen = {}

    def spy(pairs):
        seen.update({field.name: getattr(pairs, field.name) is not None for field in fields(pairs)})
        return torch.ones_like(pairs.chosen_logps)

    found = population_loss(WITNESS, uniform(3), spy, comparator_policy=best_response_policy(WITNESS))
    assert all(seen.values())
    assert found == pytest.approx(1 / 3)
