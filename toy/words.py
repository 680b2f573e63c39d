r"""What the plots say: captions, symbols, keys, and the names of responses and tables.

Words are mathtext: symbols stand between dollar signs, as in ``$\bar\pi$``, and a dollar sign of a user's
name is ``\$``. So one text is a caption in a picture, :func:`markdown` in report.md and :func:`plain` on a terminal.
"""

from __future__ import annotations

import html
import re
import string
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

PI_BAR, PI_STAR, PI_REF, PI = r"$\bar\pi$", r"$\pi^*$", r"$\pi_{\mathrm{ref}}$", r"$\pi$"
PSI, BETA, MU, V, KL, K = r"$\psi$", r"$\beta$", r"$\mu$", "$V$", r"$\mathrm{KL}$", "$K$"
Y, Y_ = "$y$", "$y'$"
DEPLOYED, CONDITIONED = r"$\pi(\cdot\mid x)$", r"$\pi(\cdot\mid x,y')$"

# Every abbreviation of the plots, by the name under which a plot asks for it.
GLOSSARY = {
    "V": rf"{V}: what a policy is worth, the mean of $\psi(P(y\succ y'))$ over its answers {Y} and the "
    rf"reference's {Y_}",
    "pi_bar": f"{PI_BAR}: the best policy that sees the prompt alone",
    "pi_star": f"{PI_STAR}: the best policy that sees {Y_} too",
    "psi": rf"{PSI}: what a preference $P(y\succ y')$ counts for: itself (identity) or $\log\,P/(1-P)$ (log-odds)",
    "mu": f"{MU}, {PI_REF}: the reference policy, where training starts",
    "beta": f"{BETA}: weight of the KL divergence from the reference",
    "KL": "KL: divergence from the reference, nats",
    "K": f"{K}: number of responses",
    "y'": f"{Y_}, the comparator: the response that an answer is judged against; real: the one that the policy "
    f"was shown",
    "INS": "INS: a method trained in view of the other response (symmetric conditioning)",
    "deployed": f"deployed: {DEPLOYED}, without the other response",
    "GD": "GD: plain gradient descent",
    "W": "witness W: P12 = .3, P13 = .9, P23 = .6",
    "Borda": "Borda: a response's mean preference over the others",
    "Nash": "Nash: the policy that none beats with more than probability 1/2",
    "least regret": "least regret: the prompt-only policy that, against its worst comparator, is least below the best "
    "answer; it knows no reference",
    "population": "population: all of the table, as if there were infinitely many pairs",
    "non-separable": "non-separable: no reward of the single responses explains the preferences",
    "additive": "additive: what is learned in view of y' and without it shares a score for each response",
    "low-rank": f"low-rank: the same, {Y_} being two numbers",
    "attention": "attention: one attention layer, all parameters shared",
    "anchored": "anchored: both responses compared with either in view",
    "averaged": "averaged: trained on the mean of both conditionings",
    "mean_embedding": f"mean embedding: shown the mean of all {Y_}",
    "marginalized": f"marginalized: mean policy over {Y_} from the reference",
    "margin": f"margin: what a policy's loss compares of two responses, times {BETA}, read as log-odds of a preference",
    "implicit": f"implicit reward: a DPO policy's log-ratio to its reference, times {BETA}",
    "exploitability": "exploitability: probability that the best response beats a draw from the policy, minus 1/2",
    "L": r"$L$: log-odds of a preference",
}


class Caption(NamedTuple):
    """What a plot says: the finding, how to read it, the one number to remember, and what its abbreviations are."""

    headline: str
    text: str
    number: str
    key: str


def key(*terms: str, items: str = "") -> str:
    """What the abbreviations of a plot mean, after what its items are."""
    return "; ".join([items] * bool(items) + [GLOSSARY[term] for term in terms]) + "."


# ---------------------------------------------------------------- names

BUILT_IN = {
    *("witness", "cyclic", "Bradley-Terry", "uniform", "random non-separable problems"),
    *("celebrities_1971", "school_subjects_1940_girls", "school_subjects_1940_boys", "weights_1975"),
}
SHORT = 8  # characters of a label that a plot has room for, whatever their number
ROOMY = 14  # and of few labels
FEW = 4


def literal(text: str) -> str:
    """A user's text, whose dollar signs are dollar signs."""
    return text.replace("$", r"\$")


def spaced(name: str) -> str:
    """A table's name in a text: of ours with its words apart, of a user's in quotes, as it is."""
    return name.replace("_", " ") if name in BUILT_IN else f'"{literal(_shortened(name, 40))}"'


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 4] + " ..."


def codes(labels: Sequence[str]) -> tuple[list[str], str]:
    """What responses are called in a picture, and the key to it.

    Labels that fit are used as they are, and need no key; else there are letters, or numbers from 27 on.
    """
    if max(map(len, labels)) <= (ROOMY if len(labels) <= FEW else SHORT):
        return [literal(label) for label in labels], ""
    short = list(string.ascii_uppercase) if len(labels) <= 26 else [str(i + 1) for i in range(len(labels))]
    if any(label in short and short[i] != label for i, label in enumerate(labels)):
        short = [f"#{i + 1}" for i in range(len(labels))]
    named = [f"{code} = {literal(_shortened(label, 60))}" for code, label in zip(short, labels, strict=False)]
    return short[: len(labels)], "; ".join(named)


# ---------------------------------------------------------------- texts in other forms

_MATH = re.compile(r"(?<!\\)\$((?:[^$\\]|\\.)+?)(?<!\\)\$")
_PLAIN = (
    (r"\\bar\\pi", "pi_bar"),
    (r"\\pi\^\*", "pi*"),
    (r"_\{\\mathrm\{(\w+)\}\}", r"_\1"),
    (r"\\mathrm\{([^}]*)\}", r"\1"),
    (r"\\(mid|,|;| )\s*", lambda found: " | " if found[1] == "mid" else " "),
    (r"\\cdot", "."),
    (r"\s*\\succ\s*", " > "),
    (r"\s*\\neq\s*", " != "),
    (r"\s*\\leq\s*", " <= "),
    (r"\s*\\geq\s*", " >= "),
    (r"\\approx", "~"),
    (r"\s*\\pm\s*", "+-"),
    (r"\s*\\to\s*", " -> "),
    (r"\\infty", "inf"),
    (r"\\(\w+)", r"\1"),
    (r"[{}]", ""),
)


def plain(text: str) -> str:
    """The text for a terminal: symbols spelled out."""
    return _MATH.sub(lambda found: _spelled(found[1]), text).replace(r"\$", "$")


def _spelled(math: str) -> str:
    for pattern, replacement in _PLAIN:
        math = re.sub(pattern, replacement, math)
    return math


def markdown(text: str) -> str:
    """The text for Markdown: what is no symbol means nothing to it, be it HTML, emphasis or a link."""
    parts, end = [], 0
    for found in _MATH.finditer(text):
        parts += [_escaped(text[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(text.replace(r"\$", "$"), quote=False))


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` letters, as they look; symbols stay in one piece."""
    lines: list[str] = [""]
    for word in re.split(r" +", _MATH.sub(lambda found: found[0].replace(" ", "\0"), text)):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(plain(longer.replace("\0", " "))) > width:
            lines += [""]
            longer = word
        lines[-1:] = textwrap.wrap(longer, width) if len(longer) > width and "$" not in longer else [longer]
    return "\n".join(lines).replace("\0", " ")
