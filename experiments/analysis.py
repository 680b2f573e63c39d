"""From results to answers: paired differences at equal KL, intervals over seeds, a correction for many questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Point = Mapping[str, float]


def at_kl(points: Sequence[Point], kl: float, name: str, start: float) -> float | None:
    """A number where policies have a given KL from the reference.

    Linear in the square root of KL between points, since near the reference what is gained grows with it.

    Args:
        points: of policies, by growing KL.
        kl: nats a response.
        name: of the number.
        start: its value at the reference, KL 0.

    Returns:
        The number; None beyond the last point.

    >>> at_kl([{"kl": 1.0, "value": 0.6}, {"kl": 4.0, "value": 0.8}], 2.25, "value", 0.5)
    0.7
    """
    before = (0.0, start)
    for point in points:
        here = (math.sqrt(max(point["kl"], 0.0)), point[name])
        if point["kl"] >= kl:
            share = (math.sqrt(kl) - before[0]) / (here[0] - before[0]) if here[0] > before[0] else 1.0
            return before[1] + share * (here[1] - before[1])
        before = here
    return None


@dataclass(frozen=True)
class Effect:
    """A mean difference over seeds.

    Attributes:
        mean: of the differences.
        se: its standard error, of seeds as if they were drawn alike. What references differ in makes it larger, so that
            it is large enough for these references, but not for others.
        low: end of the 95 % interval, by Student's t.
        high: its other end.
        p: two-sided, of no difference.
        seeds: how many differences.
        groups: mean difference by pretraining seed.
        elsewhere: the 95 % interval for another reference, by Student's t over the means of these; None of one.
    """

    mean: float
    se: float
    low: float
    high: float
    p: float
    seeds: int
    groups: Mapping[int, float]
    elsewhere: tuple[float, float] | None

    def holds_elsewhere(self) -> bool:
        """Whether for another reference, too, no difference is out of the interval."""
        return self.elsewhere is not None and not self.elsewhere[0] <= 0 <= self.elsewhere[1]


def effect(differences: Sequence[tuple[int, float]]) -> Effect:
    """Of paired differences.

    Args:
        differences: of one seed each, with the pretraining seed that it belongs to.

    Raises:
        ValueError: fewer than two seeds, of which nothing can be said.
    """
    from scipy.stats import t

    values = [value for _, value in differences]
    if len(values) < 2:
        raise ValueError(f"{len(values)} seed: no claim rests on fewer than two")
    mean, se, low, high = _student(values)
    p = float(2 * t.sf(abs(mean) / se, len(values) - 1)) if se > 0 else float(mean == 0)
    by_group: dict[int, list[float]] = {}
    for group, value in differences:
        by_group.setdefault(group, []).append(value)
    groups = {group: float(np.mean(found)) for group, found in sorted(by_group.items())}
    elsewhere = _student(list(groups.values()))[2:] if len(groups) > 1 else None
    return Effect(mean, se, low, high, p, len(values), groups, elsewhere)


def _student(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Mean, its standard error, and the ends of its 95 % interval."""
    from scipy.stats import t

    mean, se = float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))
    reach = float(t.ppf(0.975, len(values) - 1)) * se
    return mean, se, mean - reach, mean + reach


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for how many there are (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.5})
    {'a': 0.03, 'b': 0.08, 'c': 0.5}
    """
    corrected, largest = {}, 0.0
    for rank, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, round((len(p) - rank) * value, 12)))
        corrected[name] = largest
    return corrected


def paired(
    paths: Mapping[tuple[int, int], Sequence[Sequence[Point]]], difference: Callable[..., float | None]
) -> tuple[list[tuple[int, float]], list[tuple[int, int]]]:
    """Differences of trainings that share reference and data.

    Args:
        paths: by (pretraining seed, data seed) the points of each side.
        difference: of the sides' paths; None where they cannot be compared.

    Returns:
        (pretraining seed, difference) of each seed; and the seeds that could not be compared.
    """
    found, left_out = [], []
    for seed, sides in sorted(paths.items()):
        value = difference(*sides)
        if value is None:
            left_out.append(seed)
        else:
            found.append((seed[0], value))
    return found, left_out


def beyond_frontier(name: str, start: float) -> Callable[..., float | None]:
    """How much more a policy has of a number than a frontier of others has at its KL from the reference.

    Args:
        name: of the number.
        start: its value at the reference, where every frontier begins.

    Returns:
        A function of the path of one training and of those of the frontier, such as of several beta; all by their last
        points. None where the frontier does not reach that far.
    """

    def difference(treated: Sequence[Point], *frontier: Sequence[Point]) -> float | None:
        here = treated[-1]
        there = at_kl(sorted((path[-1] for path in frontier), key=lambda point: point["kl"]), here["kl"], name, start)
        return None if there is None else here[name] - there

    return difference


def at_shared_kl(name: str, start: float) -> Callable[[Sequence[Point], Sequence[Point]], float]:
    """How much more one training has of a number than another where both have the largest KL that both have had.

    Args:
        name: of the number.
        start: its value at the reference.

    Returns:
        A function of the paths of two trainings, whose points are policies along it.
    """

    def difference(treated: Sequence[Point], control: Sequence[Point]) -> float:
        paths = [sorted(path, key=lambda point: point["kl"]) for path in (treated, control)]
        reached = min(path[-1]["kl"] for path in paths)
        ours, theirs = (at_kl(path, reached, name, start) for path in paths)
        if ours is None or theirs is None:
            raise AssertionError("both paths reach the KL that both have had")
        return ours - theirs

    return difference
