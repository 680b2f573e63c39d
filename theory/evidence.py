"""What a claim is, what counts as evidence for or against it, and how evidence becomes a verdict.

A claim is one statement, of the paper or of our own. Its evidence is a list of functions, each with a role (what it
shows), a kind (how it shows it) and a finding (the figure it returns). A function whose assertion
fails shows nothing, so the verdict is computed from those that pass and from nothing else. The roles
that decide it, refuted and repaired for "true with assumption", each need two kinds of evidence. An identity,
which holds by the definitions alone, is no kind of evidence; nor is a proof, which Coq checks only where it is
installed, but which says that something holds for all K where the kinds beside it are tried at some:

=====================  =====================================================================
verdict                evidence that passed
=====================  =====================================================================
true                   the statement holds as stated
true with assumption   it is refuted as stated, and holds once an assumption is added
false                  it is refuted as stated, and no assumption short of its denial repairs it
not shown              the data at hand neither bear it out nor refute it
outside the model      it is about deployed language models, and tables of probabilities leave it open
undecided              some evidence failed, or a role that decides has fewer than two kinds of it
=====================  =====================================================================

What is said about a claim, its missing assumption and its witness included, is said in sentences, each of which
names the checks that show it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Literal


class Role(Enum):
    """What a piece of evidence shows about its claim."""

    STATED = "the statement holds as stated"
    REFUTED = "the statement fails as stated"
    REPAIRED = "the statement holds with the added assumption"
    UNSHOWN = "the data leave the statement open"
    OUTSIDE = "the model leaves the statement open"
    INSTEAD = "what is true instead, or besides"


class Verdict(Enum):
    """What the evidence says about a claim."""

    TRUE = "true"
    CONDITIONAL = "true with assumption"
    FALSE = "false"
    NOT_SHOWN = "not shown"
    OUTSIDE = "outside the model"
    UNDECIDED = "undecided"


# The roles whose evidence decides each verdict; no others may have any, what is true instead aside.
DECIDED_BY = {
    Verdict.TRUE: {Role.STATED},
    Verdict.CONDITIONAL: {Role.REFUTED, Role.REPAIRED},
    Verdict.FALSE: {Role.REFUTED},
    Verdict.NOT_SHOWN: {Role.UNSHOWN},
    Verdict.OUTSIDE: {Role.OUTSIDE},
}

Kind = Literal[
    "exact",
    "symbolic",
    "z3",
    "property",
    "search",
    "ODE",
    "linear program",
    "numeric",
    "bootstrap",
    "proof",
    "identity",
]
UNCOUNTED = {"proof", "identity"}
"""Kinds that count for no verdict; see the module."""


@dataclass(frozen=True)
class Evidence:
    """One check.

    Attributes:
        role: what it shows if it passes.
        kind: how: ``exact`` rationals, ``symbolic`` algebra, a ``z3`` proof, a ``property`` test over
            random problems, a ``search`` that finds the witness anew, an ``ODE``, a
            ``linear program``, ``numeric`` floating point, a ``bootstrap``; a ``proof`` for all K that Coq checks;
            an ``identity``.
        run: returns the finding, one line; raises AssertionError where it finds otherwise.
    """

    role: Role
    kind: Kind
    run: Callable[[], str]

    @property
    def name(self) -> str:
        """The function's name in words."""
        return self.run.__name__.replace("_", " ")

    @property
    def shows(self) -> str:
        """The first line of the function's docstring."""
        return (self.run.__doc__ or self.name).strip().splitlines()[0]


@dataclass(frozen=True)
class Sentence:
    """Something said about a claim, and the names of the functions, among its checks, that show it."""

    text: str
    shown_by: tuple[str, ...]


def says(text: str, *shown_by: str) -> Sentence:
    """One sentence of a claim.

    Args:
        text: what is said.
        shown_by: the names of the claim's checks that show it; at least one.

    Raises:
        ValueError: no check is named.
    """
    if not shown_by:
        raise ValueError(f"no check is named for: {text}")
    return Sentence(text, shown_by)


@dataclass
class Claim:
    """One statement and all that is known about it.

    Attributes:
        id: how the command line calls it.
        paper: its number or place in the paper.
        quote: the paper's own words, formulas in plain letters, with " ... " where some are left out; empty for a
            result of our own.
        reading: what we take it to say, in our words; empty where the quote is plain.
        truth: what holds, sentence by sentence.
        witness: the smallest example that decides it.
        missing: the assumption that was missing; None where none is, or where none would help.
        evidence: the checks, in the order in which a reader should meet them.
    """

    id: str
    paper: str
    quote: str
    reading: str
    truth: tuple[Sentence, ...]
    witness: Sentence
    missing: Sentence | None = None
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """All that is said about it."""
        return (*self.truth, *([self.missing] if self.missing else []), self.witness)

    def check(self, role: Role, kind: Kind) -> Callable[[Callable[[], str]], Callable[[], str]]:
        """Register a function as evidence."""

        def register(run: Callable[[], str]) -> Callable[[], str]:
            self.evidence.append(Evidence(role, kind, run))
            return run

        return register

    def numbers(self, sentence: Sentence) -> list[int]:
        """The places, from 1, of a sentence's checks among the claim's.

        Raises:
            ValueError: the claim has no check of that name.
        """
        names = [evidence.run.__name__ for evidence in self.evidence]
        if unknown := [name for name in sentence.shown_by if name not in names]:
            raise ValueError(f"{self.id}: no check {', '.join(unknown)}, which is to show: {sentence.text}")
        return sorted(names.index(name) + 1 for name in sentence.shown_by)


@dataclass(frozen=True)
class Outcome:
    """What became of one check: its finding, or in `failure` why it showed nothing."""

    evidence: Evidence
    finding: str
    failure: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the check showed what its role says."""
        return not self.failure


@cache
def run(evidence: Evidence) -> Outcome:
    """Run one check, once in this process.

    Raises:
        RuntimeError: Python was started with -O, which turns every assertion off.
    """
    if not __debug__:
        raise RuntimeError("the evidence consists of assertions: start Python without -O")
    start = time.perf_counter()
    finding, failure = "", ""
    try:
        finding = evidence.run()
    except Exception as error:  # noqa: BLE001 - any error means that this check shows nothing
        failure = f"{type(error).__name__}: {error}".strip()
    return Outcome(evidence, finding, failure, time.perf_counter() - start)


def verdict(outcomes: list[Outcome]) -> Verdict:
    """The verdict that follows from the outcomes of a claim's checks; see the module."""
    counted = [o.evidence for o in outcomes if o.passed and o.evidence.kind not in UNCOUNTED]
    kinds = {role: {evidence.kind for evidence in counted if evidence.role is role} for role in Role}
    shown = {role for role, found in kinds.items() if found} - {Role.INSTEAD}
    follows = next((verdict for verdict, roles in DECIDED_BY.items() if shown == roles), Verdict.UNDECIDED)
    if not all(outcome.passed for outcome in outcomes) or any(len(kinds[role]) < 2 for role in shown):
        return Verdict.UNDECIDED
    return follows


@dataclass(frozen=True)
class Judgment:
    """A claim, the outcomes of its checks, and the verdict that follows."""

    claim: Claim
    outcomes: list[Outcome]

    @property
    def verdict(self) -> Verdict:
        """Computed from the outcomes."""
        return verdict(self.outcomes)

    @property
    def kinds(self) -> list[str]:
        """The kinds of evidence that passed, each once, in order."""
        return list(dict.fromkeys(outcome.evidence.kind for outcome in self.outcomes if outcome.passed))

    @property
    def seconds(self) -> float:
        """Time that the checks took."""
        return sum(outcome.seconds for outcome in self.outcomes)


def judge(claim: Claim) -> Judgment:
    """Run every check of a claim."""
    return Judgment(claim, [run(evidence) for evidence in claim.evidence])
