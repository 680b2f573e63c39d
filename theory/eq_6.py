"""Equation (6): is the choice model mild, the reward being generic?

Eq. (6) is P(w > l) = sigma(2 h(w, l)) with h(y, y') = r(y, y') - beta log Z(y'), and Z(y') is the number
that makes the Gibbs policy a distribution: E_{y ~ mu} exp(h(y, y') / beta) = 1 for each y'. Since
P(w > l) + P(l > w) = 1, h is antisymmetric. Averaging the first fact over y' ~ mu and using the second,

    1 = E_{y, y' ~ mu} exp(h / beta) = E_{y, y' ~ mu} cosh(h / beta),

and cosh >= 1 with equality only at zero: h = 0 on the support of mu, so P = 1/2 there.
"""

from fractions import Fraction

import numpy as np

from inspo.objectives import apply_psi, gibbs_policy
from theory import exact, strategies
from theory.claims import Claim, Role
from theory.exact import W

CLAIM = Claim(
    id="eq-6",
    paper="Eq. (6)",
    statement="The choice model (6) is mild, because its reward r is unspecified and can be generic.",
    truth=(
        "Preferences obey (6) for some r if and only if P(y > y') = 1/2 for all y, y' in the support of mu, "
        "whatever K, beta and mu. Even Bradley-Terry preferences do not."
    ),
    missing="",
    witness="P12 = 4/5, mu = 1/2, beta = 1/2: the columns must average odds^(1/(2 beta)) = 1; they give 5/2 and 5/8",
)


@CLAIM.check(Role.REFUTED, "exact")
def two_responses() -> str:
    """P12 = 4/5, beta = 1/2, so exp(h / beta) = odds: columns (1 + 1/4) / 2 and (1 + 4) / 2, not 1."""
    P = exact.preferences("4/5")
    sums = [sum(exact.odds(p) for p in column) / 2 for column in exact.columns(P)]
    assert sums == list(exact.fractions("5/8 5/2"))
    return "column averages 5/8 and 5/2 instead of 1"


@CLAIM.check(Role.REFUTED, "exact")
def column_averages_of_the_witness() -> str:
    """W, beta = 1/2, uniform: columns average 31/27, 44/63, 23/6, so E cosh = 1.893..., not 1."""
    sums = [sum(exact.odds(p) for p in column) / 3 for column in exact.columns(W)]
    assert sums == list(exact.fractions("31/27 44/63 23/6"))
    mean = sum(sums, Fraction(0)) / 3
    assert mean == Fraction(2147, 1134)
    return f"31/27, 44/63, 23/6; E cosh = 2147/1134 = {float(mean):.6f}"


@CLAIM.check(Role.REFUTED, "symbolic")
def certificate() -> str:
    """E exp(h / beta) - 1 is a sum of squares, any K: sum_{i<j} mu_i mu_j (sqrt w_ij - 1 / sqrt w_ij)^2."""
    import sympy as sp

    for k in (2, 3, 4, 5):
        mu = [*sp.symbols(f"mu1:{k}", positive=True)]
        mu.append(1 - sum(mu))
        root = {(i, j): sp.Symbol(f"s{i}{j}", positive=True) for i in range(k) for j in range(i + 1, k)}
        w = {(i, i): 1 for i in range(k)} | {p: s**2 for p, s in root.items()}
        w |= {(j, i): s**-2 for (i, j), s in root.items()}
        mean = sum(mu[i] * mu[j] * w[i, j] for i in range(k) for j in range(k))
        squares = sum(mu[i] * mu[j] * (s - 1 / s) ** 2 for (i, j), s in root.items())
        assert sp.expand(mean - 1 - squares) == 0
    return "identity verified for K = 2 to 5; zero only if every w = 1"


@CLAIM.check(Role.REFUTED, "z3")
def only_indifference() -> str:
    """K = 2, 3: w = exp(h / beta) positive, w_ij w_ji = 1 and mu-averages of columns 1 imply w = 1."""
    import z3

    from theory import solver

    for k in (2, 3):
        w = solver.reals("w", k, k)
        mu, distribution = solver.distribution(k, "mu", full_support=True)
        cells = [(i, j) for i in range(k) for j in range(k)]
        antisymmetric = [z3.And(w[i][j] > 0, w[i][j] * w[j][i] == 1) for i, j in cells]
        normalised = [z3.Sum([mu[i] * w[i][j] for i in range(k)]) == 1 for j in range(k)]
        solver.prove([*distribution, *antisymmetric, *normalised], z3.And([w[i][j] == 1 for i, j in cells]))
    return "proved for K = 2, 3"


@CLAIM.check(Role.REFUTED, "property")
def generic_rewards_break_it() -> str:
    """A reward with 2 h = logit P would need a Gibbs policy equal to mu exp(h / beta): never, unless P = 1/2."""

    def never(problem: strategies.Problem) -> None:
        P, mu = problem
        beta = 0.5
        h = apply_psi(P, "log_odds") / 2
        unnormalised = mu.astype(float)[:, None] * np.exp(h / beta)
        realizable = np.allclose(gibbs_policy(h, mu, beta), unnormalised, rtol=1e-9, atol=0)
        assert realizable == (P == exact.HALF).all()

    return f"{strategies.for_all(never, strategies.problems(interior=True, full_support=True))} problems"


@CLAIM.check(Role.INSTEAD, "numeric")
def size_of_the_violation() -> str:
    """W: E cosh(h / beta) by beta; near indifference it is 1 + E L^2 / (8 beta^2)."""
    L = apply_psi(np.array(W), "log_odds")
    excess = {beta: np.cosh(L / (2 * beta)).mean() for beta in (1.0, 0.5, 0.1)}
    assert np.allclose(list(excess.values()), [1.172973, 1.893298, 6569.878], rtol=1e-6)
    small = L / 1000
    second_order = 1 + (small**2).mean() / 8
    assert abs(np.cosh(small / 2).mean() - second_order) < 1e-9 * (second_order - 1) * 1e4
    return ", ".join(f"beta {beta}: {value:.6f}" for beta, value in excess.items())


@CLAIM.check(Role.INSTEAD, "exact")
def distance_to_the_model() -> str:
    """W: the only realizable P is 1/2, at mean |P - 1/2| = 7/45 over ordered pairs drawn from mu."""
    distance = sum(abs(p - exact.HALF) for row in W for p in row) / 9
    assert distance == Fraction(7, 45)
    return "mean |P - 1/2| = 7/45"
