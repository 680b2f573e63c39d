"""Random problems for property tests: preferences, references and scalarizations of every awkward kind.

Everything is exact (object arrays of Fraction), so that a counterexample shrinks to one that a reader
can check by hand, and ties are ties. ``THEORY_PROFILE=thorough`` tries twenty times as many examples.

Hypothesis also draws numbers that it reads in whatever local modules are loaded, so which examples come up
may change with code elsewhere. Findings are kept in VERDICTS.md: they must not name or count examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from inspo.command_line import UserError
from theory import exact

Array = npt.NDArray[Any]
Problem = tuple[Array, Array]  # P and mu

# Examples as a multiple of the quick profile's; "glance" is for seeing which code runs.
PROFILES = {"quick": 1, "thorough": 20, "glance": 0}


def examples(quick: int) -> int:
    """How many examples to try where the quick profile tries `quick`.

    Raises:
        UserError: THEORY_PROFILE is set to something else than a profile.
    """
    profile = os.environ.get("THEORY_PROFILE", "quick")
    if profile not in PROFILES:
        raise UserError(f"THEORY_PROFILE = {profile!r} must be one of {', '.join(PROFILES)}")
    return max(3, quick * PROFILES[profile])


Regions = dict[str, Callable[..., bool]]
"""By name, whether the drawn arguments, from the first on, lie in a region that a property must be tried in."""


def for_all(
    holds: Callable[..., None], *arguments: st.SearchStrategy[Any], tries: int = 120, covers: Regions | None = None
) -> int:
    """Try `holds` on random arguments; a failure is shrunk to a readable counterexample.

    Args:
        holds: raises AssertionError where the property fails.
        arguments: one strategy for each of its arguments.
        tries: examples in the quick profile.
        covers: regions that a tenth of the examples each must lie in; not asked at a glance.

    Returns:
        How many examples were tried.

    Raises:
        AssertionError: a counterexample, or a region that too few examples lay in.
    """
    tried, inside = 0, dict.fromkeys(covers or {}, 0)

    # Always derandomized: a verdict must be the same tomorrow. Nothing is stored for the same reason.
    # Slow or filtered generation says something about a busy machine or our strategies, not the claim.
    @settings(
        max_examples=examples(tries),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(st.tuples(*arguments))
    def attempt(drawn: tuple[Any, ...]) -> None:
        nonlocal tried
        tried += 1
        for region, contains in (covers or {}).items():
            inside[region] += bool(contains(*drawn))
        try:
            holds(*drawn)
        except AssertionError as error:
            error.add_note(f"Counterexample: {', '.join(map(readable, drawn))}")
            raise

    attempt()
    for region, count in inside.items():
        assert count >= tried / 10 or _at_a_glance(), f"too few examples: {count} of {tried} have {region}"
    return tried


def nearest(ratios: Iterable[Any], level: float) -> str:
    """How near examples came to a bound, in words: a bound that none comes near could be far too large.

    Args:
        ratios: of each example's value to its bound.
        level: what the largest must reach; not asked at a glance.

    Raises:
        AssertionError: none reaches it.
    """
    largest = float(max(ratios))
    assert largest >= level or _at_a_glance(), f"no example comes near the bound: {largest:.0%} of it at most"
    return f"{level:.0%} of it reached"


def _at_a_glance() -> bool:
    return PROFILES[os.environ.get("THEORY_PROFILE", "quick")] == 0


def readable(drawn: Any) -> str:
    """A drawn argument as one would write it by hand: ``[[1/2, 3/4], [1/4, 1/2]]``."""
    if isinstance(drawn, np.ndarray):
        drawn = drawn.tolist()
    if isinstance(drawn, list | tuple):
        return f"[{', '.join(map(readable, drawn))}]"
    return str(drawn)


def find_one(strategy: st.SearchStrategy[Any], holds: Callable[[Any], bool], tries: int = 5000) -> Any:
    """Search for an example with a property; the first that turns up.

    Raises:
        hypothesis.errors.NoSuchExample: none turned up.
    """
    phases = [Phase.generate]
    return find(
        strategy,
        holds,
        settings=settings(max_examples=tries, deadline=None, derandomize=True, database=None, phases=phases),
    )


def _upper(k: int, entry: st.SearchStrategy[Fraction]) -> st.SearchStrategy[Array]:
    pairs = k * (k - 1) // 2
    return st.lists(entry, min_size=pairs, max_size=pairs).map(_matrix)


def _matrix(upper: list[Fraction]) -> Array:
    return np.array(exact.preferences(upper))


def _cyclic(k: int) -> st.SearchStrategy[Array]:
    """Each response beats the next half of the cycle by the same amount."""

    def cycle(p: Fraction) -> Array:
        return _matrix(
            [exact.HALF if 2 * (j - i) == k else p if 2 * (j - i) < k else 1 - p for i, j in combinations(range(k), 2)]
        )

    return st.fractions(Fraction(51, 100), Fraction(99, 100), max_denominator=100).map(cycle)


def _bradley_terry(k: int) -> st.SearchStrategy[Array]:
    strengths = st.lists(st.integers(1, 9), min_size=k, max_size=k)
    return strengths.map(lambda s: np.array(exact.bradley_terry(s)))


def preference_matrices(k: int, *, interior: bool = False) -> st.SearchStrategy[Array]:
    """Uniform entries, entries near 0 and 1, ties, cycles, Bradley-Terry.

    Args:
        k: number of responses.
        interior: keep every entry inside (0, 1).
    """
    margin = Fraction(int(interior), 20)
    extreme = st.sampled_from(["1/1000", "1/100", "99/100", "999/1000", *([] if interior else ["0", "1"])])
    ties = st.sampled_from(["1/2", "1/4", "3/4"])
    return st.one_of(
        _upper(k, ties.map(Fraction)),  # first, so that counterexamples shrink to it
        _upper(k, st.fractions(margin, 1 - margin, max_denominator=20)),
        _upper(k, extreme.map(Fraction)),
        _cyclic(k),
        _bradley_terry(k),
    )


def references(k: int, *, full_support: bool = False) -> st.SearchStrategy[Array]:
    """Distributions: of small whole weights, at a vertex, or with a tiny mass somewhere."""
    weights = st.lists(st.integers(int(full_support), 6), min_size=k, max_size=k).filter(any)
    tiny = st.integers(0, k - 1).map(lambda i: [1 if j == i else 10_000 for j in range(k)])
    vertex = st.integers(0, k - 1).map(lambda i: [int(j == i) for j in range(k)])
    even = st.just([1] * k)  # first, so that counterexamples shrink to it
    mixed = st.one_of(even, weights, tiny) if full_support else st.one_of(even, weights, tiny, vertex)
    return mixed.map(lambda w: np.array([Fraction(entry, sum(w)) for entry in w]))


@dataclass(frozen=True)
class Scalarization:
    """A psi with what is known of it, and a name to read in a counterexample."""

    name: str
    psi: str | Callable[[Any], Any]
    strict: bool

    def __repr__(self) -> str:
        return self.name


IDENTITY = Scalarization("identity", "identity", strict=True)
LOG_ODDS = Scalarization("log_odds", "log_odds", strict=True)


def _random_increasing() -> st.SearchStrategy[Scalarization]:
    """a q^m - b (1 - q)^n + c, exact, strictly increasing on [0, 1] since a + b > 0, and not affine, as identity is."""
    numbers = st.tuples(*[st.integers(0, 5)] * 2, *[st.integers(1, 6)] * 2, st.integers(-3, 3))

    def build(drawn: tuple[int, int, int, int, int]) -> Scalarization:
        a, b, m, n, c = drawn
        return Scalarization(f"{a} q^{m} - {b} (1-q)^{n} + {c}", lambda q: a * q**m - b * (1 - q) ** n + c, strict=True)

    increasing = numbers.filter(lambda drawn: drawn[0] + drawn[1] > 0).map(build)
    return increasing.filter(lambda drawn: not is_affine(drawn))


def steps() -> st.SearchStrategy[Scalarization]:
    """One from some preference on, else zero: non-decreasing."""

    def build(at: Fraction) -> Scalarization:
        return Scalarization(f"1[q >= {at}]", np.frompyfunc(lambda q: Fraction(int(q >= at)), 1, 1), strict=False)

    return st.fractions(0, 1, max_denominator=20).map(build)


def is_affine(scalarization: Scalarization) -> bool:
    """Whether equal steps of the preference from 0 to 1 are equal steps of psi, so that it changes no optimum."""
    if isinstance(scalarization.psi, str):
        return scalarization.psi == "identity"
    return len(set(np.diff(scalarization.psi(np.array([Fraction(n, 6) for n in range(7)]))))) == 1


def scalarizations(*, strict: bool = False, log_odds: bool = False) -> st.SearchStrategy[Scalarization]:
    """Identity and, more often, random increasing psi; log-odds if wanted; unless `strict`, steps and a constant."""
    kinds = [st.just(IDENTITY), *(_random_increasing() for _ in range(3))]
    if log_odds:
        kinds.append(st.just(LOG_ODDS))
    if not strict:
        kinds += [steps(), st.just(Scalarization("0", lambda q: Fraction(0) * q, strict=False))]
    return st.one_of(kinds)


def no_common_best_response(problem: Problem) -> bool:
    """Whether no response is best against all that the reference gives."""
    P, mu = problem
    return not (P == P.max(axis=0))[:, mu > 0].all(axis=1).any()


PROBLEMS: Regions = {
    "three or more responses": lambda problem, *_: len(problem[1]) >= 3,
    "no common best response": lambda problem, *_: no_common_best_response(problem),
    "an uneven reference": lambda problem, *_: len(set(problem[1])) > 1,
    "ties": lambda problem, *_: ((problem[0] == problem[0].max(axis=0)).sum(axis=0) > 1).any(),
}
"""For properties whose first argument is any problem."""

SCALARIZATIONS: Regions = {
    "a strict psi that is not affine": lambda _, psi, *__: psi.strict and callable(psi.psi) and not is_affine(psi)
}
"""For properties whose second argument is any scalarization."""


@st.composite
def problems(
    draw: st.DrawFn, *, interior: bool = False, full_support: bool = False, min_k: int = 2, max_k: int = 5
) -> Problem:
    """(P, mu), exact, with `min_k` to `max_k` responses."""
    k = draw(st.sampled_from(range(min_k, max_k + 1)))
    return draw(preference_matrices(k, interior=interior)), draw(references(k, full_support=full_support))


@st.composite
def cycles(draw: st.DrawFn, *, interior: bool = False) -> Problem:
    """Three to five responses in a cycle, an even reference: each beats the next half, or surely the next alone.

    Here bounds are met that other problems stay far from. `interior` keeps every entry inside (0, 1).
    """
    k = draw(st.sampled_from((3, 4, 5)))
    sure = [Fraction(int(j - i == 1)) if j - i in (1, k - 1) else exact.HALF for i, j in combinations(range(k), 2)]
    return draw(_cyclic(k) if interior else st.just(_matrix(sure)) | _cyclic(k)), np.array(exact.uniform(k))


@st.composite
def conditioned_policies(draw: st.DrawFn, k: int) -> Array:
    """(K, K), exact, columns sum to one."""
    return np.stack([draw(references(k)) for _ in range(k)], axis=1)
