"""Table 1: the five objectives and their INS variants, each compared with the code that implements it.

Each loss stands here twice: in LaTeX, as printed, and in NumPy, written independently of ``inspo.losses``.
Each time the table is made, ``inspo.PreferenceLoss`` is compared with the latter on random pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from inspo.conditioning import Conditioning, LogpRequest
from inspo.preference_loss import PreferenceLoss
from paper_figures.names import BASES
from paper_figures.table import Item, grid, table

Floats = npt.NDArray[np.float64]

PAIRS = 1000
TOLERANCE = 1e-12  # absolute and relative: float64 on sums of a few terms
P = r"$p_\theta(y\mid\cdot)=\exp(\log\pi_\theta(y\mid\cdot)/\vert y\vert)$"
NOTES = f"""\
Losses: arXiv:2512.23126, Table 1 (Section 4); {P}. Log-probs are sums over tokens; bold is what INS adds.

inspo: largest absolute difference over {PAIRS} random pairs in float64 between `inspo.PreferenceLoss` and the loss \
written again in NumPy; $\\checkmark$ where all are within {TOLERANCE:.0e}, absolute plus relative.

Authors' release: how its INS losses differ from this table (github.com/Skylanding/InsPO, \
openrlhf/trainer/tpo_trainer.py, read in 2026)."""


class Terms(NamedTuple):
    """What the losses are made of, each (B,): log pi and log pi_ref in nats, summed; lengths in tokens."""

    pi_w: Floats
    pi_l: Floats
    ref_w: Floats
    ref_l: Floats
    len_w: Floats
    len_l: Floats


class Line(NamedTuple):
    """One method of the table."""

    latex: str  # as printed; @w and @l stand for the contexts: x, or x and the other response
    loss: Callable[..., Floats]  # the same in NumPy
    hyperparameters: dict[str, float]  # for the comparison
    release: str  # how the authors' code for the INS variant differs


def _log_sigmoid(z: Floats) -> Floats:
    return np.asarray(-np.logaddexp(0, -z))


def _orpo(t: Terms, lam: float) -> Floats:
    """With p(y) = exp(log pi(y) / |y|)."""
    p_w, p_l = np.exp(t.pi_w / t.len_w), np.exp(t.pi_l / t.len_l)
    return np.asarray(-np.log(p_w) - lam * _log_sigmoid(np.log(p_w / (1 - p_w)) - np.log(p_l / (1 - p_l))))


_W = r"\log\frac{\pi_\theta(y_w\mid @w)}{\pi_{\mathrm{ref}}(y_w\mid x)}"
_L = r"\log\frac{\pi_\theta(y_\ell\mid @l)}{\pi_{\mathrm{ref}}(y_\ell\mid x)}"
LINES = {
    "dpo": Line(
        rf"-\log\sigma\left(\beta{_W}-\beta{_L}\right)",
        lambda t, beta: -_log_sigmoid(beta * (t.pi_w - t.ref_w) - beta * (t.pi_l - t.ref_l)),
        {"beta": 0.3},
        "reference conditioned too",
    ),
    "ipo": Line(
        rf"\left({_W}-{_L}-\frac{{1}}{{2\tau}}\right)^2",
        lambda t, tau: ((t.pi_w - t.ref_w) - (t.pi_l - t.ref_l) - 1 / (2 * tau)) ** 2,
        {"tau": 0.4},
        "sign reversed; references swapped",
    ),
    "r-dpo": Line(
        rf"-\log\sigma\left(\beta\left[{_W}-{_L}\right]+\alpha(\vert y_w\vert-\vert y_\ell\vert)\right)",
        lambda t, beta, alpha: (
            -_log_sigmoid(beta * ((t.pi_w - t.ref_w) - (t.pi_l - t.ref_l)) + alpha * (t.len_w - t.len_l))
        ),
        {"beta": 0.3, "alpha": 0.05},
        "references swapped",
    ),
    "orpo": Line(
        r"-\log p_\theta(y_w\mid @w)-\lambda\log\sigma\left(\mathrm{logit}\,p_\theta(y_w\mid @w)"
        r"-\mathrm{logit}\,p_\theta(y_\ell\mid @l)\right)",
        _orpo,
        {"lam": 0.7},
        "sign of the odds-ratio term reversed",
    ),
    "simpo": Line(
        r"-\log\sigma\left(\frac{\beta}{\vert y_w\vert}\log\pi_\theta(y_w\mid @w)"
        r"-\frac{\beta}{\vert y_\ell\vert}\log\pi_\theta(y_\ell\mid @l)-\gamma\right)",
        lambda t, beta, gamma: -_log_sigmoid(beta * t.pi_w / t.len_w - beta * t.pi_l / t.len_l - gamma),
        {"beta": 2.0, "gamma": 0.6},
        "sign reversed; cannot run as called",
    ),
}


def latex(method: str, *, ins: bool) -> str:
    """A line of Table 1 as printed; what INS adds is bold."""
    chosen, rejected = (r"x,\mathbf{y}_\mathbf{\ell}", r"x,\mathbf{y}_\mathbf{w}") if ins else ("x", "x")
    return LINES[method].latex.replace("@w", chosen).replace("@l", rejected)


def difference(method: str, conditioning: Conditioning) -> tuple[float, bool]:
    """Compare the code with the printed loss on random pairs.

    Every log-prob of a pair, plain and conditioned, is another random number, so that a loss that
    read the wrong one would show.

    Returns:
        The largest absolute difference, and whether all are within the tolerance.
    """
    rng = np.random.default_rng(1)
    lengths = {target: rng.integers(5, 200, PAIRS).astype(float) for target in ("chosen", "rejected")}

    def logps(requests: tuple[LogpRequest, ...]) -> dict[LogpRequest, Floats]:
        """Summed log-probs of -3 to -0.05 nats per token."""
        return {request: lengths[request.target.value] * rng.uniform(-3, -0.05, PAIRS) for request in requests}

    plain = Conditioning.NONE.requests()
    policy, reference = logps((*plain, *Conditioning.SYMMETRIC.requests())), logps(plain)
    ours = PreferenceLoss(method, conditioning, LINES[method].hyperparameters)(
        {request: torch.from_numpy(values) for request, values in policy.items()},
        {request: torch.from_numpy(values) for request, values in reference.items()},
        chosen_length=torch.from_numpy(lengths["chosen"]),
        rejected_length=torch.from_numpy(lengths["rejected"]),
    ).numpy()
    (term,) = conditioning.contrasts
    terms = Terms(policy[term.chosen], policy[term.rejected], *reference.values(), *lengths.values())
    theirs = LINES[method].loss(terms, **LINES[method].hyperparameters)
    return float(np.abs(ours - theirs).max()), np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def make() -> Item:
    """The table."""
    body, agreeing = [], 0
    for method, line in LINES.items():
        for ins in (False, True):
            distance, agrees = difference(method, Conditioning.SYMMETRIC if ins else Conditioning.NONE)
            agreeing += agrees
            mark = r"$\checkmark$" if agrees else r"$\times$"
            name = f"INS-{BASES[method]}" if ins else BASES[method]
            body.append([name, f"${latex(method, ins=ins)}$", f"{mark} {distance:.1g}", line.release if ins else ""])
    parts = [grid(("method", "loss of a pair", "inspo", "authors' release"), "llll", body), NOTES]
    against = [f"Section 4 and Table 1's caption announce 6 methods; the table has {len(LINES)}."]
    title = "The objectives, and whether the code is what they say"
    return table(1, title, parts, ours=f"{agreeing} of {len(body)} agree", against=against)
