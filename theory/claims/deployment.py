"""Section 4, last paragraphs: does the deployed policy pi_hat(. | x) inherit Theorem 3.2 (ii)?

Deployed is a policy that sees the prompt alone: a member of the class whose best is pi_bar. Nothing that
happens in training can lift it above V(pi_bar). What training through y' does reach the deployed policy
is decided by shared parameters.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import torch
import z3
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import best_responses, restricted_optima, scores, value
from inspo.tabular import population_weights, tabular_terms
from theory import exact, flow, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, Row, W
from theory.flow import Floats
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="deployment",
    paper="Sec. 4, inference",
    quote=(
        "Since self-reflective mechanism is distilled into the policy during training, InSPO may not require "
        "generating alternative responses during the inference time"
    ),
    reading="The deployed pi_hat(. | x) has what pi* has over pi_bar.",
    truth=(
        says(
            "V(pi_hat(. | x)) <= V(pi_bar) always, since pi_bar is the best of the policies that see the "
            "prompt alone; that holds of DPO's policy too.",
            "never_above_prompt_only",
        ),
        says(
            "Distilling pi* itself, by averaging over comparators, can lose to pi_bar and to the reference: "
            "for every even K >= 4 down to V = (1 + e) / K with any e > 0, although pi* sees its comparator "
            "and beats it; for K = 3 too, and for K = 2 never.",
            "worse_than_prompt_only",
            "arbitrarily_bad",
            "also_with_full_support",
            "search_finds_one_below_the_reference",
            "three_responses_can_lose_more",
            "two_responses_lose_nothing",
        ),
        says(
            "Three responses of equal mass are safe.",
            "three_responses_of_equal_mass_are_safe",
        ),
        says(
            "Without shared parameters the deployed policy stays at the reference.",
            "free_tables_do_not_move",
        ),
        says(
            "How it compares with DPO's policy depends on what the two policies share: with an additive "
            "shared score the first step of INS-DPO moves it exactly as DPO's does, and at equal beta it ends "
            "below on average.",
            "first_step_is_dpos",
            "shared_scores_against_dpo",
        ),
        says(
            "With other sharing it can end above, by going further from the reference.",
            "other_sharing_can_win",
        ),
    ),
    witness=says(
        "K = 4: y1 beats y3 with 3/5, y2 beats y4 with 3/5, both lose to the rest for sure; mu = 1/2 on y3, y4",
        "arbitrarily_bad",
    ),
)


def distilled(P: Matrix, mu: Row) -> Row:
    """pi* averaged over comparators drawn from mu; best responses must be unique on the support."""
    mass = [Fraction(0)] * len(mu)
    for m, best in zip(mu, exact.best_responses(P), strict=True):
        if m:
            (response,) = best
            mass[response] += m
    return tuple(mass)


@CLAIM.check(Role.REFUTED, "exact")
def worse_than_prompt_only() -> str:
    """W: averaging pi* gives V = 53/90 < 3/5. K = 3 and, mu uniform, K = 4: 15/32, 19/40 < 1/2, worse than no training.

    The K = 3 example is one that the search below found.
    """
    mu = exact.uniform(3)
    assert exact.value(distilled(W, mu), W, mu) == Fraction(53, 90) < max(exact.scores(W, mu))
    P, mu = exact.preferences("1 1/3 1"), exact.fractions("1/2 1/4 1/4")
    assert exact.value(distilled(P, mu), P, mu) == Fraction(15, 32) < exact.value(mu, P, mu) == HALF
    P, mu = exact.preferences("1/5 9/10 1/10 2/5 7/10 4/5"), exact.uniform(4)
    assert exact.value(distilled(P, mu), P, mu) == Fraction(19, 40)
    assert exact.value(mu, P, mu) == HALF
    return "53/90 < 54/90; 15/32 and 19/40 < 1/2 = V(pi_ref)"


def champions(m: int, edge: Fraction) -> tuple[Matrix, Row]:
    """m responses of the reference, each with a champion that beats it by `edge` and loses to the others for sure."""
    upper = []
    for i in range(2 * m):
        for j in range(i + 1, 2 * m):
            against_own = i < m and j == m + i
            upper.append(HALF + edge if against_own else Fraction(0) if i < m <= j else HALF)
    return exact.preferences(upper), (Fraction(0),) * m + exact.uniform(m)


@CLAIM.check(Role.REFUTED, "exact")
def arbitrarily_bad() -> str:
    """K = 2m, e = 1/5: V(pi*) = 3/5 > V(pi_bar) = 1/2, and pi* averaged over comparators has V = (1 + e) / K -> 0."""
    found = []
    for m in (2, 3, 10, 20):
        P, mu = champions(m, Fraction(1, 10))
        assert exact.best_value(P, mu) == Fraction(3, 5)
        assert max(exact.scores(P, mu)) == HALF
        V = exact.value(distilled(P, mu), P, mu)
        assert V == Fraction(3, 5 * m)
        found.append(f"{2 * m}: {V}")
    return "K: V = " + ", ".join(found)


@CLAIM.check(Role.REFUTED, "exact")
def also_with_full_support() -> str:
    """The same with a thousandth of the mass on the champions: still below 1/3 for m = 2."""
    P, _ = champions(2, Fraction(1, 10))
    mu = exact.fractions("1/2000 1/2000 999/2000 999/2000")
    columns_to_play = [min(best) for best in exact.best_responses(P)]
    mass = [sum((m for m, best in zip(mu, columns_to_play, strict=True) if best == i), Fraction(0)) for i in range(4)]
    V = exact.value(tuple(mass), P, mu)
    assert V < Fraction(1, 3)
    return f"V = {float(V):.4f} < 1/2 = V(pi_ref)"


@CLAIM.check(Role.REFUTED, "identity")
def never_above_prompt_only() -> str:
    """Random conditioned policies, averaged over comparators with random weights: V <= V(pi_bar)."""

    @st.composite
    def drawn(draw: st.DrawFn) -> tuple[Array, Array, Array, Array]:
        P, mu = draw(strategies.problems())
        return P, mu, draw(strategies.conditioned_policies(len(mu))), draw(strategies.references(len(mu)))

    def bounded(case: tuple[Array, Array, Array, Array]) -> None:
        P, mu, policy, weights = case
        averaged = (policy * weights).sum(axis=1)
        assert value(averaged, P, mu) <= scores(P, mu).max()
        assert (value(averaged, P, mu) == scores(P, mu).max()) == (not (averaged * ~restricted_optima(P, mu)).any())

    covers: strategies.Regions = {
        "a policy that sees the comparator": lambda case: (case[2] != case[2][:, :1]).any(),
        "no common best response": lambda case: strategies.no_common_best_response(case[:2]),
    }
    return f"{strategies.for_all(bounded, drawn(), tries=200, covers=covers)} policies"


@CLAIM.check(Role.REFUTED, "search")
def search_finds_one_below_the_reference() -> str:
    """A random search finds preferences of three for which pi*, averaged over mu, is worth less than the reference."""

    def below(problem: Problem) -> bool:
        P, mu = problem
        best = best_responses(P)
        return bool((best.sum(axis=0) == 1).all()) and value((best * mu).sum(axis=1), P, mu) < HALF

    strategies.find_one(strategies.problems(full_support=True, min_k=3, max_k=3), below)
    return "found within 5000 problems, P12, P13, P23 = 1, 1/3, 1, mu = (1/2, 1/4, 1/4) among others"


@CLAIM.check(Role.INSTEAD, "property")
def two_responses_lose_nothing() -> str:
    """K = 2: pi*, averaged over any comparators, has V = V(pi_bar): one response is best against both."""

    def nothing(problem: Problem, weights: Array) -> None:
        P, mu = problem
        best = best_responses(P)
        policy = np.array([[Fraction(int(b), int(n)) for b, n in zip(r, best.sum(axis=0), strict=True)] for r in best])
        assert value((policy * weights).sum(axis=1), P, mu) == scores(P, mu).max()

    return f"{strategies.for_all(nothing, strategies.problems(max_k=2), strategies.references(2), tries=60)} problems"


@CLAIM.check(Role.INSTEAD, "exact")
def three_responses_can_lose_more() -> str:
    """K = 3: P12, P13, P23 = .501, 0, .501, mu = (0, 1/2, 1/2): pi* averaged has V = .3755."""
    P, mu = exact.preferences("501/1000 0 501/1000"), exact.fractions("0 1/2 1/2")
    assert exact.value(distilled(P, mu), P, mu) == Fraction(751, 2000) < HALF
    return "V = .3755 < 1/2"


@CLAIM.check(Role.INSTEAD, "z3")
def three_responses_of_equal_mass_are_safe() -> str:
    """K = 3, uniform mu: averaging pi* never falls below the reference's 1/2, whatever P and the ties."""
    P, valid = solver.preference_matrix(3)
    r = range(3)
    for answers in product(r, repeat=3):
        best = [P[answers[j]][j] >= P[i][j] for i in r for j in r]
        if solver.solve([*valid, *best]) is None:
            continue
        total = z3.Sum([P[answers[j]][k] for j in r for k in r])
        solver.prove([*valid, *best], total >= z3.Q(9, 2))
    P3, mu = exact.preferences("9/10 12/25 51/100"), exact.fractions("49/100 1/50 49/100")
    assert exact.value(distilled(P3, mu), P3, mu) < HALF
    return "proved; unequal mass breaks it: mu = (.49, .02, .49), V < 1/2"


@CLAIM.check(Role.INSTEAD, "identity")
def free_tables_do_not_move() -> str:
    """Without shared parameters the gradient of Eq. (9) on the deployed table is zero."""
    prompt = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    comparator = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    ((_, pairs),) = tabular_terms(
        Conditioning.SYMMETRIC,
        prompt_logps=prompt.log_softmax(-1),
        comparator_logps=comparator.log_softmax(-2),
        ref_logps=torch.full((3,), 1 / 3, dtype=torch.float64).log(),
    )
    weights = population_weights(torch.tensor(np.array(W, dtype=float)), torch.full((3,), 1 / 3, dtype=torch.float64))
    on_prompt, on_comparator = torch.autograd.grad(
        (weights * dpo(pairs, beta=1.0)).sum(), [prompt, comparator], allow_unused=True
    )
    assert on_prompt is None
    assert on_comparator.abs().max() > 0.01
    return "no gradient reaches it"


def additive_limit(P: Floats, mu: Floats, beta: float) -> tuple[Floats, Floats]:
    """Gradient flow with logits log mu_i + u_i + M_ij: the deployed policy (M = 0) and the conditioned one.

    u' is the row sum of M', and both start at zero, so u is the row sum of M throughout.
    """
    k = len(mu)

    def field(state: Floats) -> Floats:
        M = state.reshape(k, k)
        return flow.velocity(np.log(mu)[:, None] + M.sum(axis=1, keepdims=True) + M, P, mu, beta)

    def distance(state: Floats) -> float:
        M = state.reshape(k, k)
        policy = flow.softmax(np.log(mu)[:, None] + M.sum(axis=1, keepdims=True) + M)
        return float(np.abs(flow.pull(policy, P, mu, beta)).max() / (beta * mu.min() ** 2)) * 1e-3

    M = flow.integrate(field, np.zeros((k, k)), distance)
    return flow.softmax(np.log(mu) + M.sum(axis=1)), flow.softmax(
        np.log(mu)[:, None] + M.sum(axis=1, keepdims=True) + M
    )


@CLAIM.check(Role.INSTEAD, "ODE")
def shared_scores_against_dpo() -> str:
    """Shared scores, 40 random P (K = 5, log-odds N(0, 1)): V less DPO's at equal beta, deployed and with y'."""
    rng, k = np.random.default_rng(0), 5
    mu, found = np.full(k, 1 / k), []
    for beta in (1.0, 0.1):
        differences = []
        for _ in range(40):
            L = np.triu(rng.normal(size=(k, k)), 1)
            P = 1 / (1 + np.exp(L.T - L))
            deployed, conditioned = additive_limit(P, mu, beta)
            plain = flow.dpo_limit(P, mu, beta) @ P @ mu
            differences.append((deployed @ P @ mu - plain, flow.conditioned_value(conditioned, P, mu) - plain))
        mean, error = np.mean(differences, axis=0), np.std(differences, axis=0, ddof=1) / np.sqrt(40)
        assert mean[0] < -2 * error[0]
        assert mean[1] > 2 * error[1]
        found.append(
            f"beta {beta}: {mean[0]:+.4f} +- {error[0]:.4f} deployed, {mean[1]:+.4f} +- {error[1]:.4f} with y'"
        )
    return "; ".join(found)


@CLAIM.check(Role.INSTEAD, "ODE")
def other_sharing_can_win() -> str:
    """The same flow and problems, beta = 1, but u counts twice where no comparator is seen: V and KL less DPO's.

    Logits log mu_i + 2 u_i are deployed, log mu_i + u_i + M_ij trained.
    """
    rng, k = np.random.default_rng(0), 5
    mu, differences = np.full(k, 1 / k), []
    for _ in range(40):
        L = np.triu(rng.normal(size=(k, k)), 1)
        P = 1 / (1 + np.exp(L.T - L))
        once, plain = additive_limit(P, mu, 1.0)[0], flow.dpo_limit(P, mu, 1.0)
        twice = once**2 / mu / (once**2 / mu).sum()
        kl = [float(policy @ np.log(policy / mu)) for policy in (twice, plain)]
        differences.append(((twice - plain) @ P @ mu, kl[0] - kl[1]))
    mean, error = np.mean(differences, axis=0), np.std(differences, axis=0, ddof=1) / np.sqrt(40)
    assert (mean > 2 * error).all()
    return f"V {mean[0]:+.4f} +- {error[0]:.4f}, KL {mean[1]:+.3f} +- {error[1]:.3f} nats"


@CLAIM.check(Role.INSTEAD, "symbolic")
def first_step_is_dpos() -> str:
    """At the start, the shared score's gradient is that of DPO's logits, for any mu, P and beta: K = 2 to 4.

    Both are beta mu_k (S(k) - 1/2): sum_j [c_kj - mu_k sum_i c_ij] with c_ij = beta mu_i mu_j (P_ij - 1/2)
    antisymmetric, so the second part sums to zero.
    """
    import sympy as sp

    for k in (2, 3, 4):
        mu, P = (
            sp.symbols(f"m1:{k + 1}"),
            sp.MutableDenseMatrix(k, k, lambda i, j: sp.Symbol(f"p{min(i, j)}{max(i, j)}")),
        )
        for i in range(k):
            for j in range(i):
                P[i, j] = 1 - P[j, i]
            P[i, i] = sp.Rational(1, 2)
        c = sp.Matrix(k, k, lambda i, j, mu=mu, P=P: mu[i] * mu[j] * (P[i, j] - sp.Rational(1, 2)))
        for row in range(k):
            shared = sum(c[row, j] - mu[row] * sum(c[i, j] for i in range(k)) for j in range(k))
            plain = sum(c[row, j] for j in range(k))
            assert sp.expand(shared - plain) == 0
    return "verified for K = 2, 3, 4"
