"""All claims: the paper's, results of our own, errata.

A new one is a file in theory/claims, named as its id, and its id here or, of the last two kinds, in front_page.
"""

from importlib import import_module

from inspo.command_line import UserError
from theory.evidence import Claim
from theory.front_page import ERRATA, OWN

PAPER = (
    "thm-4.1-eq-9",
    "eq-10",
    "deployment",
    "eq-6",
    "variants",
    "sec-5.3",
    "thm-3.2-ii",
    "converse",
    "thm-3.2-i",
    "thm-3.2-iii",
    "prop-3.1",
    "dpo-solves-4",
    "thm-4.1-eq-8",
    "humans",
)
"""The paper's, the most important first."""

IDS = PAPER + OWN + ERRATA


def module_name(claim_id: str) -> str:
    """The file of a claim in theory/claims, without its ending.

    >>> module_name("thm-4.1-eq-8")
    'thm_4_1_eq_8'
    """
    return claim_id.replace("-", "_").replace(".", "_")


CLAIMS: dict[str, Claim] = {claim_id: import_module(f"theory.claims.{module_name(claim_id)}").CLAIM for claim_id in IDS}


def find_claim(claim_id: str) -> Claim:
    """The claim of that id.

    Raises:
        UserError: an unknown id; the message lists the known ones.
    """
    if claim_id not in CLAIMS:
        raise UserError(f"no claim {claim_id!r}; known: {', '.join(CLAIMS)}")
    return CLAIMS[claim_id]
