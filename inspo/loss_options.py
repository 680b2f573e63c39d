"""What all losses share: soft labels, a likelihood term, and the checks of their hyperparameters.

A loss of :mod:`inspo.losses` is a contrast f(w, l) of two responses, w chosen and l rejected.
:func:`compare` turns it into a loss,

    q f(w, l) + (1 - q) f(l, w) - sft_weight log pi(w)    with  q = (1 - epsilon) p + epsilon (1 - p):

the expectation of f over the label, and a likelihood term, on which labels do not act. With q = 1/2 no
contrast prefers a response.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypedDict

import torch
from torch import Tensor

from inspo.pairs import PairLogps

Contrast = Callable[[PairLogps], Tensor]
P = ParamSpec("P")


class LabelOptions(TypedDict, total=False):
    """The options of :func:`compare` that say how sure a label is."""

    label_smoothing: float
    preference: Tensor | float


class LossOptions(LabelOptions, total=False):
    """All options of :func:`compare`."""

    sft_weight: float
    sft_length_mean: bool


def compare(
    contrast: Contrast,
    pairs: PairLogps,
    *,
    flipped: Contrast | None = None,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """The loss of a contrast: its expectation over the label, and a likelihood term; see the module.

    Args:
        contrast: f, PairLogps -> (B,).
        pairs: log-probs in nats, summed over tokens.
        flipped: what stands for f where the label is flipped, if not f; it is given the swapped pairs.
        label_smoothing: epsilon in [0, 1/2], the probability that a label was flipped. Acts on the contrast,
            never on a likelihood term.
        preference: float or (B,), p in [0, 1], the probability that the response called chosen really is the
            better one. Acts on the contrast, never on a likelihood term.
        sft_weight: weight, >= 0, of the likelihood term ``- sft_weight log pi(w)``. It is the likelihood under
            the context of the loss: with cross-conditioning, log pi(w | x, l).
        sft_length_mean: likelihood per token, as TRL and RPO have it (needs lengths), instead of summed.

    Returns:
        (B,), nats.

    Raises:
        ValueError: an option out of range, or something missing in `pairs`.
    """
    loss = _expected_over_labels(contrast, flipped or contrast, pairs, label_smoothing, preference)
    if sft_weight == 0:
        return loss
    check_non_negative(sft_weight=sft_weight)
    chosen, _ = pairs.length_means() if sft_length_mean else pairs.logps()
    return loss - sft_weight * chosen


def _expected_over_labels(
    contrast: Contrast, flipped: Contrast, pairs: PairLogps, label_smoothing: float, preference: Tensor | float
) -> Tensor:
    """Return q contrast(pairs) + (1 - q) flipped(swapped pairs); see the module."""
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(f"label_smoothing = {label_smoothing} must be in [0, 1/2]")
    p = torch.as_tensor(preference, dtype=pairs.chosen_logps.dtype, device=pairs.chosen_logps.device)
    check_shape("preference", p, pairs)
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError("preference must be a probability in [0, 1]")
    if label_smoothing == 0 and not isinstance(preference, Tensor) and preference == 1:
        return contrast(pairs)
    q = (1 - label_smoothing) * p + label_smoothing * (1 - p)
    return q * contrast(pairs) + (1 - q) * flipped(pairs.swapped())


def takes(options: type[LabelOptions]) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Spell out the ``**options`` of a loss, those of :func:`compare`, in its signature and its help.

    Args:
        options: what the loss hands on to :func:`compare`. In the loss's docstring the line that starts with
            ``options:`` is where their documentation goes.

    >>> from inspo.losses import dpo
    >>> list(inspect.signature(dpo).parameters)
    ['pairs', 'beta', 'label_smoothing', 'preference', 'sft_weight', 'sft_length_mean']
    """
    shared = [inspect.signature(compare).parameters[name] for name in options.__annotations__]
    described = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(compare) or "", re.MULTILINE))
    documentation = "\n".join(f"    {one.name}: {described.get(one.name)}" for one in shared)

    def spell_out(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
        signature = inspect.signature(loss)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        names = {one.name for one in (*own, *shared)}

        @wraps(loss)
        def spelled_out(*args: P.args, **keywords: P.kwargs) -> Tensor:
            for name in keywords.keys() - names:
                raise TypeError(f"{loss.__name__}() got an unexpected keyword argument {name!r}")
            return loss(*args, **keywords)

        spelled_out.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]  # for inspect
        spelled_out.__doc__ = re.sub(
            "^    options: .*", lambda _: documentation, inspect.getdoc(loss) or "", flags=re.MULTILINE
        )
        return spelled_out

    return spell_out


def check_shape(name: str, value: Tensor | float, pairs: PairLogps) -> None:
    """Refuse a tensor that would broadcast the pairs to another shape."""
    shape = pairs.chosen_logps.shape
    if isinstance(value, Tensor) and value.ndim and value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, but there are {tuple(shape)} pairs")


def check_positive(**hyperparameters: float | Tensor) -> None:
    """Refuse a hyperparameter, or an entry of one, that is not a finite number > 0, by its name."""
    for name, value in hyperparameters.items():
        if not (_all(value > 0) and _all(value < math.inf)):
            raise ValueError(f"{name} = {value} must be a finite number > 0")


def check_non_negative(**hyperparameters: float | Tensor) -> None:
    """Refuse a hyperparameter, or an entry of one, that is not a finite number >= 0, by its name."""
    for name, value in hyperparameters.items():
        if not (_all(value >= 0) and _all(value < math.inf)):
            raise ValueError(f"{name} = {value} must be a finite number >= 0")


def _all(condition: bool | Tensor) -> bool:  # noqa: FBT001  # a condition, not an option
    return bool(condition.all()) if isinstance(condition, Tensor) else condition
