"""All claims, in the order of the paper."""

from theory import (
    converse,
    eq_6,
    gap_bounds,
    proof_3_1,
    prop_3_1,
    ranking,
    thm_3_2_i,
    thm_3_2_ii,
    thm_3_2_iii,
    thm_4_1_gibbs,
    thm_4_1_identification,
    choice_model,
    eq_10,
    invariance,
    deployment,
    dpo_objective,
    ipo_closed_form,
)
from theory.claims import Claim

MODULES = (
    prop_3_1,
    proof_3_1,
    ranking,
    thm_3_2_i,
    thm_3_2_ii,
    thm_3_2_iii,
    converse,
    gap_bounds,
    eq_6,
    thm_4_1_gibbs,
    thm_4_1_identification,
    choice_model,
    eq_10,
    invariance,
    deployment,
    dpo_objective,
    ipo_closed_form,
)

CLAIMS: dict[str, Claim] = {module.CLAIM.id: module.CLAIM for module in MODULES}


def find_claim(claim_id: str) -> Claim:
    """The claim of that id.

    Raises:
        ValueError: an unknown id; the message lists the known ones.
    """
    if claim_id not in CLAIMS:
        raise ValueError(f"no claim {claim_id!r}; known: {', '.join(CLAIMS)}")
    return CLAIMS[claim_id]
