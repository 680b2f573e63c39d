"""Ours: what the second move is worth is what a policy that cannot have it must regret.

With A = psi(P), max over mu of [V(pi*) - V(pi_bar)] is min over prompt-only pi of max over j of [max_i A_ij -
sum_i pi_i A_ij]: for fixed mu the gap is the least over pi of an expression linear in both, and the two orders agree
(von Neumann). Both sides are linear programs, each the other's dual.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from inspo.objectives import apply_psi, best_responses, optimality_gap
from theory import exact, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.flow import Floats
from theory.proved import proof_of
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="regret",
    paper="our own, to Thm 3.2 (ii) and Sec. 3.1",
    quote="",
    reading=(
        "The most that seeing the comparator gains, over all references, is the least regret against the worst "
        "comparator that a policy which sees the prompt alone can have."
    ),
    truth=(
        says(
            "Some reference and some prompt-only policy attain it, for every psi(P) and number of responses.",
            "both_linear_programs",
            "the_witness_by_hand",
            "second_mover_value_is_minimax_regret",
        ),
        says(
            "No reference's gap exceeds any prompt-only policy's worst regret.",
            "no_gap_exceeds_a_regret",
        ),
        says(
            "It is 0 exactly if one response is best against all.",
            "zero_with_a_common_best_response",
        ),
        says(
            "So a policy that knows no reference, and can be deployed, has a guarantee. It mixes answers: on W the "
            "best single one regrets 1/5 and y2, Borda's and Condorcet's winner, 3/10; on random tables, too, no "
            "single answer does as well on average.",
            "the_witness_by_hand",
            "what_the_guarantee_saves",
        ),
    ),
    witness=says(
        "W: 3/25, gap of mu = (0, 3/5, 2/5) and regret of pi = (3/5, 2/5, 0); rock-paper-scissors 1/2",
        "the_witness_by_hand",
    ),
)


def regrets(policy: exact.Row, P: exact.Matrix) -> exact.Row:
    """What a prompt-only policy loses to a best response, for each comparator in turn."""
    return tuple(
        max(column) - sum((p * a for p, a in zip(policy, column, strict=True)), Fraction(0))
        for column in exact.columns(P)
    )


def gap(P: exact.Matrix, mu: exact.Row) -> Fraction:
    """V(pi*) - V(pi_bar), psi being the identity."""
    return exact.best_value(P, mu) - max(exact.scores(P, mu))


@CLAIM.check(Role.STATED, "exact")
def the_witness_by_hand() -> str:
    """W: gap 3/25 at mu = (0, 3/5, 2/5); pi = (3/5, 2/5, 0) regrets 3/25 each time, a single answer 1/5 at least."""
    mu, policy = exact.fractions("0 3/5 2/5"), exact.fractions("3/5 2/5 0")
    assert gap(W, mu) == Fraction(3, 25)
    assert regrets(policy, W) == (Fraction(3, 25),) * 3
    single = [max(regrets(exact.fractions(alone), W)) for alone in ("1 0 0", "0 1 0", "0 0 1")]
    assert single == list(exact.fractions("1/5 3/10 3/5"))
    certain = exact.preferences("1 0 1")
    assert gap(certain, exact.uniform(3)) == exact.HALF
    assert regrets(exact.uniform(3), certain) == (exact.HALF,) * 3
    return "3/25 on both sides; 1/5, 3/10, 3/5 for one answer alone; rock-paper-scissors 1/2 on both"


def largest_gap(A: Floats) -> tuple[float, Floats]:
    """max over mu of sum_j mu_j max_i A_ij - max_i sum_j mu_j A_ij, and the mu; unknowns mu and the second term."""
    from scipy.optimize import linprog

    k = len(A)
    solved = linprog(
        np.append(-A.max(axis=0), 1.0),
        A_ub=np.column_stack([A, -np.ones(k)]),
        b_ub=np.zeros(k),
        A_eq=np.append(np.ones(k), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * k + [(None, None)],
        method="highs",
    )
    assert solved.fun is not None, solved.message
    assert solved.x is not None, solved.message
    return -float(solved.fun), solved.x[:k]


def least_regret(A: Floats) -> tuple[float, Floats]:
    """min over pi of max_j [max_i A_ij - sum_i pi_i A_ij], and the pi; unknowns pi and the regret."""
    from scipy.optimize import linprog

    k = len(A)
    solved = linprog(
        np.append(np.zeros(k), 1.0),
        A_ub=np.column_stack([-A.T, -np.ones(k)]),
        b_ub=-A.max(axis=0),
        A_eq=np.append(np.ones(k), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * k + [(None, None)],
        method="highs",
    )
    assert solved.fun is not None, solved.message
    assert solved.x is not None, solved.message
    return float(solved.fun), solved.x[:k]


def random_tables(k: int, size: int, rng: np.random.Generator) -> Floats:
    """Independent uniform preferences, (size, k, k)."""
    above = np.triu(rng.uniform(size=(size, k, k)), 1)
    tables: Floats = above + np.tril(1 - above.swapaxes(1, 2), -1) + np.eye(k) / 2
    return tables


def cube(q: Array) -> Array:
    """A psi."""
    raised: Array = q**3
    return raised


@CLAIM.check(Role.STATED, "linear program")
def both_linear_programs() -> str:
    """Tables of 2 to 8 responses, psi the identity and a cube: the two programs agree, and with the library's gap."""
    rng, worst = np.random.default_rng(0), 0.0
    for k in (2, 3, 5, 8):
        for P in random_tables(k, 12, rng):
            for psi in ("identity", cube):
                A = apply_psi(P, psi)
                most, mu = largest_gap(A)
                least, policy = least_regret(A)
                mu, policy = mu / mu.sum(), policy / policy.sum()
                at_mu = float(optimality_gap(P, mu, psi))
                at_policy = float((A.max(axis=0) - policy @ A).max())
                worst = max(worst, abs(most - least), abs(most - at_mu), abs(least - at_policy))
    assert worst < 1e-9
    return "96 tables agree to 1e-9"


@CLAIM.check(Role.STATED, "property")
def no_gap_exceeds_a_regret() -> str:
    """Random tables, references, prompt-only policies and psi, in rationals: the gap is at most the worst regret."""

    def at_most(problem: Problem, weights: list[int], scalarization: Scalarization) -> None:
        P, mu = problem
        A = apply_psi(P, scalarization.psi)
        weights = weights[: len(mu)]
        policy = np.array([Fraction(w, sum(weights)) for w in weights])
        assert optimality_gap(P, mu, scalarization.psi) <= (A.max(axis=0) - policy @ A).max()

    weights = st.lists(st.integers(0, 6), min_size=5, max_size=5).filter(lambda w: sum(w[:2]) > 0)
    tried = strategies.for_all(at_most, strategies.problems(), weights, strategies.scalarizations(), tries=120)
    return f"{tried} problems"


@CLAIM.check(Role.INSTEAD, "property")
def zero_with_a_common_best_response() -> str:
    """Random tables: the least regret is 0, to 1e-9, if and only if one response is a best response to all."""

    def same(P: Array) -> None:
        least, _ = least_regret(P.astype(float))
        assert (abs(least) < 1e-9) == bool(best_responses(P).all(axis=1).any())

    tables = strategies.problems(max_k=4).map(lambda problem: problem[0])
    return f"{strategies.for_all(same, tables, tries=80)} tables"


@CLAIM.check(Role.INSTEAD, "linear program")
def what_the_guarantee_saves() -> str:
    """Independent uniform preferences, 60 tables: mean least regret, and of the best single answer and of Borda's."""
    rng, found = np.random.default_rng(0), []
    for k in (3, 5, 8):
        tables = random_tables(k, 60, rng)
        each = tables.max(axis=1, keepdims=True) - tables  # regret of answer i against j
        single = each.max(axis=2).min(axis=1)
        borda = each.max(axis=2)[np.arange(60), tables.mean(axis=2).argmax(axis=1)]
        least = np.array([least_regret(P)[0] for P in tables])
        assert (least <= single + 1e-9).all()
        assert (single <= borda).all()
        assert (single - least).mean() > 4 * (single - least).std() / np.sqrt(60)
        found.append(f"{least.mean():.3f}, {single.mean():.3f}, {borda.mean():.3f} at K = {k}")
    return "; ".join(found)


CLAIM.check(Role.STATED, "proof")(proof_of("second_mover_value_is_minimax_regret"))
