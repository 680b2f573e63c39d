"""pi_bar's pick over the simplex of references, and where Eq. (7)'s optimum keeps the picks of pi*."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logit

from inspo.objectives import apply_psi, best_responses
from inspo.preferences import PreferenceTable
from toy.baselines import TIE, optima
from toy.estimates import Floats
from toy.problems import NotApplicableError, is_interior

SIDE = 72
DRAWS = 4000
SHARE_DRAWS = 100_000
BETAS = (1.0, 0.1, 0.01)


def compute(table: PreferenceTable, rng: np.random.Generator) -> dict[str, Any]:
    """Which response pi_bar picks for every reference over three responses, for both psi.

    Three responses span the picture: those that pi_bar picks most often over Dirichlet(1) references
    on all of them. The pick may be any response of the table. All shares are over references on all responses.

    Raises:
        NotApplicableError: fewer than three responses.
    """
    if len(table.P) < 3:
        raise NotApplicableError("with two responses no reference and no psi changes pi_bar's pick")
    corners = _corners(table.P, rng)
    centers = triangles().mean(axis=1)
    references = rng.dirichlet(np.ones(len(table.P)), SHARE_DRAWS)
    panels, everywhere = [], []
    for psi in ("identity", "log_odds"):
        if psi == "log_odds" and not is_interior(table.P):
            continue
        scores = np.asarray(apply_psi(table.P, psi), dtype=np.float64)
        picks = optima(centers @ scores[:, corners].T).argmax(axis=1)
        drawn = optima(references @ scores.T)
        everywhere.append(drawn)
        shares = {table.labels[i]: float(drawn[:, i].mean()) for i in np.flatnonzero(drawn.any(axis=0))}
        panels.append({"psi": psi, "picks": picks.tolist(), "shares": shares})
    best = best_responses(table.P, atol=TIE)
    answers = {table.labels[j]: [table.labels[i] for i in np.flatnonzero(best[:, j])] for j in range(len(table.labels))}
    return {
        "problem": table.name,
        "source": table.source,
        "labels": list(table.labels),
        "corners": [table.labels[i] for i in corners],
        "panels": panels,
        "disagree": float((everywhere[0] != everywhere[1]).any(axis=1).mean()) if len(panels) > 1 else None,
        "pi_star": answers,
        "pi_r": _kept(table.P, rng.dirichlet(np.ones(len(table.P)), DRAWS)),
    }


def _kept(P: Floats, references: Floats) -> dict[str, Any] | None:
    """Share of references, by beta, for which pi_r still picks pi*'s answer to every response."""
    if not is_interior(P):
        return None
    limits = largest_beta(P, references)
    return {"betas": list(BETAS), "shares": [float((limits > beta).mean()) for beta in BETAS]}


def largest_beta(P: Floats, references: Floats) -> Floats:
    """The beta below which every most probable answer of pi_r is a best response.

    pi_r is Eq. (7)'s optimum at r = logit(P) / 2, which Thm 4.1 says that Eq. (9) recovers:
    pi_r(i | j) is proportional to mu_i exp(logit(P[i, j]) / (2 beta)), so the reference outweighs
    the preference once beta is large.

    Args:
        P: (K, K) in (0, 1).
        references: (N, K), positive.

    Returns:
        (N,); inf where no beta is too large.
    """
    L, best, log_mu = logit(P), best_responses(P, atol=TIE), np.log(references)
    worst = np.full(len(references), np.inf)
    for j in range(len(P)):
        others = ~best[:, j]
        kept = np.full(len(references), -np.inf)
        for i in np.flatnonzero(best[:, j]):
            push = np.maximum(log_mu[:, others] - log_mu[:, [i]], 0)
            with np.errstate(divide="ignore"):
                limits = (L[i, j] - L[others, j]) / (2 * push)
            kept = np.maximum(kept, limits.min(axis=1, initial=np.inf))
        worst = np.minimum(worst, kept)
    return worst


def _corners(P: Floats, rng: np.random.Generator) -> list[int]:
    if len(P) == 3:
        return [0, 1, 2]
    picks = optima(rng.dirichlet(np.ones(len(P)), DRAWS) @ P.T).argmax(axis=1)
    often = np.bincount(picks, minlength=len(P)) + P.mean(axis=1) / len(P)
    return sorted(np.argsort(-often)[:3].tolist())


def triangles() -> Floats:
    """(SIDE^2, 3, 3) small triangles tiling the simplex, each with three corners of three coordinates."""
    found = []
    for a in range(SIDE):
        for b in range(SIDE - a):
            found.append([(a, b), (a + 1, b), (a, b + 1)])
            if a + b < SIDE - 1:
                found.append([(a + 1, b), (a + 1, b + 1), (a, b + 1)])
    corners = np.array(found, dtype=np.float64) / SIDE
    return np.concatenate([corners, 1 - corners.sum(axis=-1, keepdims=True)], axis=-1)
