"""Table 1: the five objectives and their INS variants, each compared with the code that implements it.

The formulas stand here as they are printed and in ``transcribed.py`` as NumPy, which is compared with
``inspo.METHODS`` on random pairs each time the table is made.
"""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import torch

from inspo.conditioning import Conditioning, LogpRequest, conditioned_loss
from inspo.losses import METHODS
from paper_figures.beside import against_itself
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.names import RUNS
from paper_figures.printed import FOLDER
from paper_figures.table import Cell, Row, Table
from paper_figures.transcribed import FORMULAS, Floats, Terms

PAIRS = 1000
TOLERANCE = 1e-12  # relative to the loss where it is above one: float64 on sums of a few terms
HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "dpo": {"beta": 0.3},
    "ipo": {"tau": 0.4},
    "r-dpo": {"beta": 0.3, "alpha": 0.05},
    "orpo": {"lam": 0.7},
    "simpo": {"beta": 2.0, "gamma": 0.6},
}

# @w and @l stand for the contexts: x, or x and the other response.
_RHO = (
    r"\log\frac{\pi_\theta(y_w\mid @w)}{\pi_{\mathrm{ref}}(y_w\mid x)}",
    r"\log\frac{\pi_\theta(y_\ell\mid @l)}{\pi_{\mathrm{ref}}(y_\ell\mid x)}",
)
PRINTED: dict[str, str] = {
    "dpo": rf"-\log\sigma\left(\beta{_RHO[0]}-\beta{_RHO[1]}\right)",
    "ipo": rf"\left({_RHO[0]}-{_RHO[1]}-\frac{{1}}{{2\tau}}\right)^2",
    "r-dpo": rf"-\log\sigma\left(\beta\left[{_RHO[0]}-{_RHO[1]}\right]+\alpha(\vert y_w\vert-\vert y_\ell\vert)\right)",
    "orpo": r"-\log p_\theta(y_w\mid @w)-\lambda\log\sigma\left(\mathrm{logit}\,p_\theta(y_w\mid @w)"
    r"-\mathrm{logit}\,p_\theta(y_\ell\mid @l)\right)",
    "simpo": r"-\log\sigma\left(\frac{\beta}{\vert y_w\vert}\log\pi_\theta(y_w\mid @w)"
    r"-\frac{\beta}{\vert y_\ell\vert}\log\pi_\theta(y_\ell\mid @l)-\gamma\right)",
}


def formula(method: str, *, ins: bool) -> str:
    """A line of Table 1 as mathematics; what INS adds is bold."""
    chosen, rejected = (r"x,\mathbf{y}_\mathbf{\ell}", r"x,\mathbf{y}_\mathbf{w}") if ins else ("x", "x")
    return PRINTED[method].replace("@w", chosen).replace("@l", rejected)


def difference(method: str, conditioning: Conditioning) -> tuple[float, bool]:
    """Compare the code with the formula on random pairs.

    Every log-prob of a pair, plain and conditioned, is another random number, so that a loss that
    read the wrong one would show.

    Returns:
        The largest absolute difference, and whether all are within the tolerance.
    """
    rng = np.random.default_rng(1)
    lengths = [rng.integers(5, 200, PAIRS).astype(float) for _ in range(2)]
    requests = dict.fromkeys((*Conditioning.NONE.requests(), *Conditioning.SYMMETRIC.requests()))
    policy: dict[LogpRequest, Floats] = {request: _logps(rng, lengths, request) for request in requests}
    reference = {request: _logps(rng, lengths, request) for request in Conditioning.NONE.requests()}
    (term,) = conditioning.contrasts
    ours = conditioned_loss(
        partial(METHODS[method].loss, **HYPERPARAMETERS[method]),
        conditioning.terms(
            {request: torch.from_numpy(logps) for request, logps in policy.items()},
            {request: torch.from_numpy(logps) for request, logps in reference.items()},
            chosen_length=torch.from_numpy(lengths[0]),
            rejected_length=torch.from_numpy(lengths[1]),
        ),
    ).numpy()
    terms = Terms(policy[term.chosen], policy[term.rejected], *reference.values(), *lengths)
    theirs = FORMULAS[method](terms, **HYPERPARAMETERS[method])
    distance = np.abs(ours - theirs)
    return float(distance.max()), bool((distance <= TOLERANCE * np.maximum(1, np.abs(theirs))).all())


def _logps(rng: np.random.Generator, lengths: list[Floats], request: LogpRequest) -> Floats:
    """Summed log-probs of -3 to -0.05 nats per token."""
    length = lengths[0] if request.target.value == "chosen" else lengths[1]
    return np.asarray(length * rng.uniform(-3, -0.05, PAIRS))


def make() -> Item:
    """The table in all formats."""
    release = json.loads((FOLDER / "release.json").read_text())
    found = contradictions(1)
    body, agreeing = [], 0
    for method in PRINTED:
        for ins in (False, True):
            distance, agrees = difference(method, Conditioning.SYMMETRIC if ins else Conditioning.NONE)
            agreeing += agrees
            mark = r"$\checkmark$" if agrees else r"$\times$"
            cells = (
                Cell("+ INS" if ins else RUNS[method]),
                Cell(f"${formula(method, ins=ins)}$"),
                Cell(f"{mark} {distance:.0e}" if distance else mark),
                Cell(release["methods"][method] if ins else ""),
            )
            body.append(Row(cells, shaded=ins, rule=not ins))
    table = Table(
        "Table 1",
        "The objectives, and whether the code is what they say",
        "llll",
        (Row((Cell("method"), Cell("loss of a pair"), Cell("inspo"), Cell("authors' release"))),),
        tuple(body),
        _notes(release, found),
    )
    return table_item(table, f"{agreeing} of {len(body)} agree", found)


def _notes(release: dict[str, str], found: list[str]) -> tuple[str, ...]:
    p = r"$p_\theta(y\mid\cdot)=\exp(\log\pi_\theta(y\mid\cdot)\,/\,\vert y\vert)$"
    formulas = (
        f"Formulas: arXiv:2512.23126, Table 1 (Section 4); {p}. Log-probs are sums over tokens; bold is what INS adds."
    )
    code = (
        f"inspo: largest absolute difference (none where there is no number) over {PAIRS} random pairs in float64,"
        rf" between `inspo.METHODS` and the formula written down again in NumPy; $\checkmark$ where all are within"
        f" {TOLERANCE:.0e} of the loss or of one."
    )
    authors = f"Authors' release: how its INS losses differ from this table ({release['source']})."
    return (formulas, code, authors, *against_itself(found))
