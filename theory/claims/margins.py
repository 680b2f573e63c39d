"""Ours: which trained policy's margins can be read as the log-odds of the preferences it was trained on?

A policy that sees the comparator has a margin for every pair, and the logistic loss is least where each is the pair's
log-odds. A prompt-only policy has K log-ratios c_i, whose differences add up to zero around every three responses.
"""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from theory import descent, exact, flow, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="margins",
    paper="our own, to Eq. (3), (9)",
    quote="",
    reading=(
        "At the minimum of the symmetric or the anchored loss the margin of every pair is the log-odds of its "
        "preference, whatever the preferences in (0, 1); at DPO's it is for all pairs if and only if they are "
        "Bradley-Terry."
    ),
    truth=(
        says(
            "Symmetric: beta [log pi(i | j) / mu_i - log pi(j | i) / mu_j] = L_ij at every minimizer, those that copy "
            "the comparator too; anchored: beta [log pi(i | j) / mu_i - log pi(j | j) / mu_j] = L_ij.",
            "both_on_the_witness",
            "trained_margins_are_log_odds",
            "minimizers_of_9",
            "anchored_identifies",
        ),
        says(
            "So such a policy, where its values are poor, still tells every preference, transitive or not.",
            "both_on_the_witness",
            "trained_margins_are_log_odds",
        ),
        says(
            "DPO's margins are so exactly where L_ij + L_jk + L_ki = 0 for all three.",
            "dpo_only_under_bradley_terry",
            "no_scores_fit_a_triangle",
            "prompt_only_margins_need_bradley_terry",
        ),
        says(
            "On W, under a uniform reference, the preferences that DPO's margins tell are off by .1636 for each pair; "
            "no scores come nearer than ln 14 / 3 = .88 nats to all three log-odds.",
            "how_far_dpo_is_off",
        ),
    ),
    witness=says(
        "W: L12 + L23 + L31 = -ln 14; DPO's margins tell P12, P13, P23 = .46, .74, .76, which are .3, .9, .6",
        "both_on_the_witness",
        "how_far_dpo_is_off",
    ),
)


@CLAIM.check(Role.STATED, "exact")
def both_on_the_witness() -> str:
    """W, beta = 1/2, uniform: exp of both margins is odds_ij, whatever V; around the triangle 1/14."""
    mu, values = exact.uniform(3), []
    anchored = tuple(
        tuple(exact.odds(p) ** 2 / total for p, total in zip(row, totals, strict=True))
        for totals in [[sum((exact.odds(p) ** 2 for p in column), Fraction(0)) for column in exact.columns(W)]]
        for row in W
    )
    assert all(anchored[i][j] / anchored[j][j] == exact.odds(W[i][j]) ** 2 for i in range(3) for j in range(3))
    values.append(exact.conditioned_value(anchored, W, mu))
    for scale in exact.fractions("1/100 1/20"):
        others = [[scale * exact.odds(W[i][j]) if i != j else Fraction(0) for j in range(3)] for i in range(3)]
        symmetric = tuple(
            tuple(others[i][j] if i != j else 1 - sum((row[j] for row in others), Fraction(0)) for j in range(3))
            for i in range(3)
        )
        assert all(symmetric[i][j] / symmetric[j][i] == exact.odds(W[i][j]) ** 2 for i in range(3) for j in range(i))
        values.append(exact.conditioned_value(symmetric, W, mu))
    assert exact.odds(W[0][1]) * exact.odds(W[1][2]) * exact.odds(W[2][0]) == Fraction(1, 14)
    return f"V = {', '.join(f'{float(V):.4f}' for V in values)}, all with the margins of W"


@CLAIM.check(Role.STATED, "property")
def trained_margins_are_log_odds() -> str:
    """Random problems and starts: BFGS on the library's symmetric and anchored losses ends with margins L, to 1e-5."""

    def told(problem: Problem, beta: float, seed: int) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        L, start = np.log(P / (1 - P)), np.random.default_rng(seed).normal(size=P.shape)
        for conditioning in (Conditioning.SYMMETRIC, Conditioning.ANCHORED):
            policy = descent.trained(P, mu, partial(dpo, beta=beta), conditioning, start)
            g = np.log(policy / mu[:, None])
            other = g.T if conditioning is Conditioning.SYMMETRIC else np.diag(g)
            assert np.abs(beta * (g - other) - L).max() < 1e-5

    problems = strategies.problems(interior=True, full_support=True, max_k=3).filter(
        lambda problem: min(*map(float, problem[0].flat), *map(float, problem[1])) > 0.04
    )
    tried = strategies.for_all(told, problems, st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 99), tries=12)
    return f"{tried} problems, both losses"


@CLAIM.check(Role.STATED, "property")
def dpo_only_under_bradley_terry() -> str:
    """Random problems: DPO's margins are L, to 1e-7, if and only if odds multiply to 1 around every three."""
    met = {True: 0, False: 0}

    def exactly(P: Array, beta: float) -> None:
        table, k = P.astype(float), range(len(P))
        mu = np.full(len(P), 1 / len(P))
        odds = [[exact.odds(p) for p in row] for row in P.tolist()]
        bradley_terry = all(odds[i][j] * odds[j][h] * odds[h][i] == 1 for i in k for j in k for h in k)
        met[bradley_terry] += 1
        c = beta * np.log(flow.dpo_limit(table, mu, beta) / mu)
        off = np.abs(c[:, None] - c - np.log(table / (1 - table))).max()
        assert bool(off < 1e-7) == bradley_terry

    tables = st.one_of(*[strategies.preference_matrices(k, interior=True) for k in (3, 4)])
    tried = strategies.for_all(exactly, tables, st.sampled_from([0.5, 1.0]), tries=60)
    assert min(met.values()) >= tried / 10
    return f"{tried} tables, each side at least a tenth"


@CLAIM.check(Role.STATED, "z3")
def no_scores_fit_a_triangle() -> str:
    """K = 3: scores c with c_i - c_j = L_ij exist if and only if L12 + L23 + L31 = 0."""
    c, L = solver.reals("c", 3), solver.reals("L", 3)
    around = [c[0] - c[1] == L[0], c[1] - c[2] == L[1], c[2] - c[0] == L[2]]
    solver.prove(around, z3.Sum(L) == 0)
    solver.prove([z3.Sum(L) == 0, c[0] == L[0], c[1] == 0, c[2] == -L[1]], z3.And(around))
    return "proved"


@CLAIM.check(Role.INSTEAD, "numeric")
def how_far_dpo_is_off() -> str:
    """W, uniform: DPO tells P12, P13, P23 off by the root .1636 of 2c^3 - c^2 + 1.54c - .234, around the triangle.

    Fitted wins equal real ones, so what is off goes round: P12 + c, P23 + c, P31 + c, with odds that multiply to 1.
    """
    mu = np.full(3, 1 / 3)
    c = np.log(flow.dpo_limit(W, mu, 1.0) / mu)
    told = 1 / (1 + np.exp(c - c[:, None]))
    off = (told - np.array(W, dtype=float))[[0, 1, 2], [1, 2, 0]]
    root = off.mean()
    assert np.abs(off - root).max() < 1e-9
    assert abs(2 * root**3 - root**2 + 1.54 * root - 0.234) < 1e-9
    assert abs(root - 0.1636) < 5e-5
    assert np.allclose(told[[0, 0, 1], [1, 2, 2]], [0.46, 0.74, 0.76], atol=0.005)
    L = np.log(np.array(W, dtype=float) / (1 - np.array(W, dtype=float)))
    apart = np.abs(L - (c[:, None] - c)).max()
    assert apart > math.log(14) / 3 - 1e-12
    around = np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]])
    nearest = np.linalg.lstsq(around.astype(float), L[[0, 1, 2], [1, 2, 0]], rcond=None)[0]
    assert np.allclose(np.abs(L[[0, 1, 2], [1, 2, 0]] - around @ nearest), math.log(14) / 3)
    return f"each off by {root:.4f}; log-odds by up to {apart:.2f} nats, where the nearest scores are off by .88"


CLAIM.check(Role.STATED, "proof")(proof_of("minimizers_of_9"))
CLAIM.check(Role.STATED, "proof")(proof_of("anchored_identifies"))
CLAIM.check(Role.STATED, "proof")(proof_of("prompt_only_margins_need_bradley_terry"))
