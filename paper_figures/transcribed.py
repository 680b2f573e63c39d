"""Table 1 written down again in NumPy, independently of ``inspo.losses``, to compare the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Terms(NamedTuple):
    """What the formulas are made of, each (B,): log pi and log pi_ref in nats, summed; lengths in tokens."""

    pi_w: Floats
    pi_l: Floats
    ref_w: Floats
    ref_l: Floats
    len_w: Floats
    len_l: Floats


def dpo(t: Terms, *, beta: float) -> Floats:
    """Line 1."""
    return -_log_sigmoid(beta * (t.pi_w - t.ref_w) - beta * (t.pi_l - t.ref_l))


def ipo(t: Terms, *, tau: float) -> Floats:
    """Line 2."""
    return np.asarray(((t.pi_w - t.ref_w) - (t.pi_l - t.ref_l) - 1 / (2 * tau)) ** 2)


def r_dpo(t: Terms, *, beta: float, alpha: float) -> Floats:
    """Line 3."""
    return -_log_sigmoid(beta * ((t.pi_w - t.ref_w) - (t.pi_l - t.ref_l)) + alpha * (t.len_w - t.len_l))


def orpo(t: Terms, *, lam: float) -> Floats:
    """Line 4, with p(y) = exp(log pi(y) / |y|)."""
    p_w, p_l = np.exp(t.pi_w / t.len_w), np.exp(t.pi_l / t.len_l)
    return np.asarray(-np.log(p_w) - lam * _log_sigmoid(_logit(p_w) - _logit(p_l)))


def simpo(t: Terms, *, beta: float, gamma: float) -> Floats:
    """Line 5."""
    return -_log_sigmoid(beta * t.pi_w / t.len_w - beta * t.pi_l / t.len_l - gamma)


FORMULAS: dict[str, Callable[..., Floats]] = {"dpo": dpo, "ipo": ipo, "r-dpo": r_dpo, "orpo": orpo, "simpo": simpo}


def _log_sigmoid(z: Floats) -> Floats:
    return np.asarray(-np.logaddexp(0, -z))


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p / (1 - p)))
