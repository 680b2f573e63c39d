"""Bad input is refused with a ValueError that names the entry; the proof tools refuse what proves nothing."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import z3
from hypothesis import strategies as st

from inspo.objectives import restricted_optima, value
from theory import exact, flow, solver, strategies

HALVES = [0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.preferences("1/2 1/2"), "2 entries are no upper triangle"),
        (lambda: exact.preferences("1/2 3/2 1/2"), r"P\[0, 2\] = 3/2 is not a probability"),
        (lambda: exact.scores(exact.W, exact.fractions("1/2 1/2 1/2")), "mu sums to 3/2"),
        (lambda: exact.scores(exact.W, exact.fractions("1/2 -1/2 1")), r"mu\[1\] = -1/2 is negative"),
        (lambda: exact.value(exact.fractions("1 1 0"), exact.W, exact.uniform(3)), "policy sums to 2"),
        (
            lambda: exact.conditioned_value((exact.fractions("1 0"),) * 2, exact.preferences("3/4"), exact.uniform(2)),
            "policy's column 0 sums to 2",
        ),
        (lambda: exact.odds(Fraction(1)), "p = 1 has no finite odds"),
        (lambda: flow.conditioned_limit([[0.5, 1], [0, 0.5]], HALVES, 1.0), r"P\[0, 1\] = 1.0 must be inside"),
        (lambda: flow.conditioned_limit([[0.5, 0.6], [0.6, 0.5]], HALVES, 1.0), r"P\[0, 1\] \+ P\[1, 0\]"),
        (lambda: flow.dpo_limit([[0.5, 0.6], [0.4, 0.5]], [1.0, 0.0], 1.0), r"mu\[1\] = 0.0 must be > 0"),
        (lambda: restricted_optima([[0.5, 1], [0, 0.5]], HALVES, "log_odds"), r"P\[0, 1\]"),
        (lambda: value(HALVES, [[0.5, 0.6], [0.4, 0.5]], HALVES, "logit"), "psi = 'logit' must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_proof_from_impossible_hypotheses_is_refused():
    x = z3.Real("x")
    with pytest.raises(AssertionError, match="vacuous"):
        solver.prove([x > 0, x < 0], x == 7)


def test_hypotheses_that_exclude_the_example_are_refused():
    P, valid = solver.preference_matrix(3)
    typical, uneven, _ = solver.typical(3)
    solver.prove(valid, P[0][1] <= 1, [(P, typical)])
    with pytest.raises(AssertionError, match=r"too strong: the hypotheses exclude \[1/2 == P_0_0, 7/10 == P_0_1, "):
        solver.prove([*valid, P[0][1] == P[0][2]], P[0][1] <= 1, [(P, typical)])
    mu = solver.reals("mu", 3)
    with pytest.raises(AssertionError, match="too strong"):
        solver.prove([entry == z3.Q(1, 3) for entry in mu], z3.Sum(mu) == 1, [(mu, uneven)])


def test_the_example_is_none_of_the_easy_ones():
    """W with y1 and y2 exchanged and a fourth: no common best response; the reference uneven; psi = q^2."""
    P, mu, A = solver.typical(4)
    assert exact.best_responses(P) == [{3}, {0}, {1}, {2}]
    assert not exact.common_best_response(P)
    assert mu == exact.fractions("3/10 1/5 1/10 2/5")
    assert A[1][2] == Fraction(81, 100)
    assert solver.typical(3)[0] == tuple(tuple(exact.W[i][j] for j in (1, 0, 2)) for i in (1, 0, 2))


def test_a_false_conclusion_shows_its_counterexample():
    x = z3.Real("x")
    with pytest.raises(AssertionError, match=r"does not follow: \[x = "):
        solver.prove([x > 0], x > 1)


def test_a_solver_that_gives_up_proves_nothing(monkeypatch):
    monkeypatch.setattr(solver, "EFFORT", 1)
    A, x = solver.reals("A", 4, 4), solver.reals("x", 4)
    products = [z3.Sum([A[i][j] * x[j] for j in range(4)]) > 0 for i in range(4)]
    with pytest.raises(AssertionError, match="gave up"):
        solver.solve(products)


def test_a_false_property_shrinks_to_a_readable_counterexample():
    def no_gap(problem):
        P, mu = problem
        assert len(mu) < 3 or P[0, 1] == Fraction(1, 2)

    with pytest.raises(AssertionError) as failure:
        strategies.for_all(no_gap, strategies.problems())
    smallest = "[[[1/2, 1/4, 1/2], [3/4, 1/2, 1/2], [1/2, 1/2, 1/2]], [1/3, 1/3, 1/3]]"
    assert f"Counterexample: {smallest}" in failure.value.__notes__


def test_a_region_with_too_few_examples_fails(monkeypatch):
    def nothing(*_):
        pass

    few = {"five responses": lambda problem: len(problem[1]) == 5, "no response": lambda problem: not len(problem[1])}
    with pytest.raises(AssertionError, match=r"too few examples: 0 of \d+ have no response"):
        strategies.for_all(nothing, strategies.problems(), covers=few)
    affine = st.sampled_from([strategies.IDENTITY, strategies.Scalarization("2q", lambda q: 2 * q, strict=True)])
    with pytest.raises(AssertionError, match="have a strict psi that is not affine"):
        strategies.for_all(nothing, strategies.problems(), affine, covers=strategies.SCALARIZATIONS)
    monkeypatch.setenv("THEORY_PROFILE", "glance")
    assert strategies.for_all(nothing, strategies.problems(), covers=few) == 3


def test_bounds_that_no_example_comes_near_fail(monkeypatch):
    assert strategies.nearest([0.2, Fraction(19, 20)], 0.9) == "90% of it reached"
    with pytest.raises(AssertionError, match="no example comes near the bound: 26% of it at most"):
        strategies.nearest([0.26, 0.1], 0.9)
    monkeypatch.setenv("THEORY_PROFILE", "glance")
    strategies.nearest([0.26], 0.9)


@pytest.mark.parametrize(
    ("psi", "affine"),
    [
        ("identity", True),
        ("log_odds", False),
        (lambda q: 3 * q - 1, True),
        (lambda q: q**2 - (1 - q) ** 2, True),
        (lambda q: q**2, False),
    ],
)
def test_affine_scalarizations_are_told_from_others(psi, affine):
    assert strategies.is_affine(strategies.Scalarization("psi", psi, strict=True)) is affine


def test_random_increasing_scalarizations_increase_and_bend():
    grid = np.array([Fraction(n, 10) for n in range(11)])

    def increases(scalarization):
        if callable(scalarization.psi):
            assert (np.diff(scalarization.psi(grid)) > 0).all()

    bends = {"not affine": lambda scalarization: not strategies.is_affine(scalarization)}
    strategies.for_all(increases, strategies.scalarizations(strict=True), covers=bends)


def test_cycles_have_no_common_best_response_under_an_even_reference():
    def cyclic(problem):
        P, mu = problem
        assert (P + P.T == 1).all()
        assert set(mu) == {Fraction(1, len(mu))}
        assert strategies.no_common_best_response(problem)
        assert set(P.sum(axis=1)) == {Fraction(len(mu), 2)}

    strategies.for_all(cyclic, strategies.cycles(), tries=30)
    strategies.for_all(cyclic, strategies.cycles(interior=True), tries=30)


def test_conditioned_policies_see_the_comparator():
    def stochastic(policy):
        assert (policy.sum(axis=0) == 1).all()

    sees = {"columns that differ": lambda policy: (policy != policy[:, :1]).any()}
    strategies.for_all(stochastic, strategies.conditioned_policies(3), covers=sees)


def test_thorough_means_twenty_times_the_examples(monkeypatch):
    counts = {}
    for profile in ("quick", "thorough"):
        monkeypatch.setenv("THEORY_PROFILE", profile)
        counts[profile] = strategies.examples(12)
    assert counts == {"quick": 12, "thorough": 240}


def test_an_unknown_profile_is_refused(monkeypatch):
    monkeypatch.setenv("THEORY_PROFILE", "thorogh")
    with pytest.raises(ValueError, match="THEORY_PROFILE = 'thorogh'"):
        strategies.examples(12)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_strategies_draw_valid_problems(k):
    def valid(P, mu, interior):
        assert (P + P.T == 1).all()
        assert mu.sum() == 1
        assert (interior > 0).all()
        assert (interior < 1).all()

    strategies.for_all(
        valid,
        strategies.preference_matrices(k),
        strategies.references(k),
        strategies.preference_matrices(k, interior=True),
        tries=60,
    )


@pytest.mark.slow
def test_evidence_refuses_to_run_without_assertions():
    done = subprocess.run(
        [sys.executable, "-O", "-m", "theory", "--claim", "eq-16"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode != 0
    assert "start Python without -O" in done.stderr
