"""Matrices that the explorer opens: the paper's counterexamples, the claims' witnesses, tables of people's choices."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from scipy.special import expit

from experiments.language.hypotheses import CYCLE
from experiments.language.world import STYLES
from inspo.preferences import rock_paper_scissors
from report.sources import ROOT, Collection, Source, dated, relative
from theory import exact
from toy.plots import prop_3_1
from toy.problems import DATA, FULL_NAMES, human_tables

TITLES = {
    "celebrities_1971": "Celebrities, 1971",
    "school_subjects_1940_girls": "School subjects, girls, 1940",
    "school_subjects_1940_boys": "School subjects, boys, 1940",
    "weights_1975": "Weights, 1975",
}

THREE_QUARTERS = exact.preferences("3/4")
FOUR_FIFTHS = exact.preferences("4/5")
CERTAIN_CYCLE = exact.preferences("1 0 1")
STRENGTHS = exact.bradley_terry((4, 2, 1))
# y1 beats y3 and y2 beats y4 with 3/5, and both lose to the rest for sure; y1 and y2, and y3 and y4, tie.
PAIRED = exact.preferences("1/2 3/5 0 0 3/5 1/2")

Facts = tuple[str, str, exact.Matrix, Sequence[Fraction], str, float]


def _facts() -> list[Facts]:
    """Claim, what to look at, P, mu, psi, beta."""
    third, half = exact.uniform(3), exact.uniform(2)
    paper = tuple(tuple(map(Fraction, map(str, row))) for row in prop_3_1.preferences(0.5).tolist())
    return [
        (
            "prop-3.1",
            "The paper's counterexample to Prop. 3.1, P(a over b) = 1/2, which it omits: psi and reference decide.",
            paper,
            tuple(map(Fraction, map(str, prop_3_1.SETTINGS[0][1]))),
            "identity",
            1.0,
        ),
        ("prop-3.1", "W: identity picks y2, log-odds y1.", exact.W, third, "identity", 1.0),
        (
            "thm-3.2-ii",
            "W: a policy that sees y' is worth 7/10, one that does not 3/5.",
            exact.W,
            third,
            "identity",
            1.0,
        ),
        (
            "thm-3.2-ii",
            "A certain cycle: pi* wins always, pi_bar half the time.",
            CERTAIN_CYCLE,
            third,
            "identity",
            1.0,
        ),
        (
            "thm-4.1-eq-9",
            "Two responses, 3/4: policies of different worth have the same loss.",
            THREE_QUARTERS,
            half,
            "identity",
            1.0,
        ),
        ("eq-10", "Two responses, 3/4: trained InSPO is below DPO.", THREE_QUARTERS, half, "identity", 1.0),
        (
            "deployment",
            "pi*, averaged over y', answers with two responses that lose: look at column by column.",
            PAIRED,
            exact.fractions("0 0 1/2 1/2"),
            "identity",
            1.0,
        ),
        ("eq-6", "P12 = 4/5: the choice model (6) has no probability for it.", FOUR_FIFTHS, half, "identity", 0.5),
        ("variants", "An uneven reference.", THREE_QUARTERS, exact.fractions("9/10 1/10"), "identity", 1.0),
        (
            "sec-5.3",
            "W at beta = 1/2: what is deployed can be far from what was trained.",
            exact.W,
            third,
            "identity",
            0.5,
        ),
        (
            "converse",
            "Always y1, no gap, and yet not separable.",
            exact.preferences("4/5 3/4 7/10"),
            third,
            "identity",
            1.0,
        ),
        ("thm-3.2-i", "P12 = 3/5.", exact.preferences("3/5"), half, "identity", 1.0),
        ("thm-3.2-iii", "Indifference: everything is optimal.", exact.preferences("1/2"), half, "identity", 1.0),
        ("dpo-solves-4", "W: DPO raises y2, log-odds would choose y1.", exact.W, third, "log_odds", 1.0),
        ("anchored", "W at beta = 1.", exact.W, third, "identity", 1.0),
        (
            "regret",
            "W with the reference that makes the gap largest.",
            exact.W,
            exact.fractions("0 3/5 2/5"),
            "identity",
            1.0,
        ),
        ("psi-matters", "W: y1 reaches 9/10 most often, y2 1/2.", exact.W, third, "identity", 1.0),
        (
            "antisymmetric",
            "Bradley-Terry 4 : 2 : 1: no gap, whoever the comparator is.",
            STRENGTHS,
            third,
            "log_odds",
            1.0,
        ),
        ("pairs-pay", "W: the gap that pairs pay for.", exact.W, third, "identity", 1.0),
        ("margins", "W: no Bradley-Terry reward fits its cycle of log-odds.", exact.W, third, "log_odds", 1.0),
        (
            "prop-3.1-proof",
            "The paper's counterexample with full support.",
            paper,
            exact.fractions("1/20 1/20 9/20 9/20"),
            "identity",
            1.0,
        ),
    ]


def collect(found: Collection) -> None:
    """The explorer's examples and tables."""
    file = ROOT / "report" / "examples.py"
    source = found.source("examples", Source(relative(file), "python -m report", "none", dated(file)))
    found.parts["examples"] = [
        {
            "claim": claim,
            "what": what,
            "P": [[float(p) for p in row] for row in P],
            "labels": list(prop_3_1.LABELS) if "counterexample" in what else [f"y{i + 1}" for i in range(len(P))],
            "mu": [float(m) for m in mu],
            "psi": psi,
            "beta": beta,
            "source": source,
        }
        for claim, what, P, mu, psi, beta in _facts()
    ]
    found.parts["tables"] = _tables(found)


def _tables(found: Collection) -> list[dict[str, Any]]:
    tables = []
    for table in human_tables():
        file = DATA / f"{table.name}.json"
        source = Source(relative(file), "transcribed", "none; people's choices", dated(file))
        tables.append(
            {
                "name": TITLES[table.name],
                "about": table.source,
                "key": next((text for name, text in FULL_NAMES.items() if table.name.startswith(name)), ""),
                "labels": list(table.labels),
                "counts": [] if table.counts is None else table.counts.tolist(),
                "P": table.P.tolist(),
                "source": found.source(table.name, source),
            }
        )
    file = ROOT / "experiments" / "language" / "world.py"
    source = Source(relative(file), "python -m experiments cell", "none", dated(file))
    return [
        *tables,
        {
            "name": "The language world's styles",
            "about": f"What the judge of the language world thinks of three styles of equal quality: cycle {CYCLE:g}.",
            "key": "",
            "labels": list(STYLES),
            "counts": [],
            "P": rock_paper_scissors(float(expit(CYCLE))).tolist(),
            "source": found.source("styles", source),
        },
    ]
