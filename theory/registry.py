"""All claims, in the order of the paper."""

from theory import (
    averaged,
    choice_model,
    converse,
    deployment,
    dpo_objective,
    eq_6,
    eq_10,
    eq_16,
    finite_data,
    gap_bounds,
    humans,
    invariance,
    ipo_closed_form,
    lengths,
    one_sided,
    overhead,
    proof_3_1,
    prop_3_1,
    published_tables,
    ranking,
    sequences,
    table_1,
    thm_3_2_i,
    thm_3_2_ii,
    thm_3_2_iii,
    thm_4_1_gibbs,
    thm_4_1_identification,
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
    humans,
    gap_bounds,
    dpo_objective,
    ipo_closed_form,
    eq_6,
    thm_4_1_gibbs,
    thm_4_1_identification,
    choice_model,
    eq_10,
    finite_data,
    invariance,
    deployment,
    table_1,
    one_sided,
    averaged,
    published_tables,
    overhead,
    lengths,
    sequences,
    eq_16,
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
