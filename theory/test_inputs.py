"""Bad input is refused with a ValueError that names the entry; the proof tools refuse what proves nothing."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import z3

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
