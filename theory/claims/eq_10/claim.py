"""What is said of Equation (10); the checks are in the other files of this folder."""

from theory.evidence import Claim, says

CLAIM = Claim(
    id="eq-10",
    paper="Eq. (10), Alg. 1, its line 2; Sec. 4, Sec. 5.3 (iii), abstract",
    quote=(
        "InSPO estimates pi* via ... Denote the solution to (10) as pi_hat ... Initialize: pi_theta <- pi_ref ... "
        "guarantees invariance to the choice of scalarization and reference policy"
    ),
    reading=(
        "(10) has a solution on a data set; training from the reference ends in it; it estimates pi*, and so depends "
        "neither on psi nor on the reference. Here training starts at mu for every comparator unless said."
    ),
    truth=(
        says(
            "Gradient flow ended in a minimizer of (9) in every problem tried here; which one "
            "depends on beta, and it is not the best. That it always ends in one is not proved for K >= 3.",
            "below_dpo_with_two_responses",
            "three_responses",
            "below_dpo_by_the_closed_form",
            "flow_is_the_librarys_gradient",
        ),
        says(
            "What it finds, which contains no psi, depends on the reference. So does the solution of (7): a reference "
            "that is confident enough overrules any preference; and through r = psi(P) it depends on psi.",
            "gradient_flow_moves_with_the_reference",
            "the_reference_overrules",
            "through_the_library",
        ),
        says(
            "It depends on where it starts: Algorithm 1, line 2, starts at a language model that has just read y', "
            "which may repeat it or not.",
            "the_start_chooses",
        ),
        says(
            "For K = 2 it conserves sum t + e^t over the two logits t = logit pi(other | comparator), which gives its "
            "end by the Lambert W function.",
            "conserved_quantities",
            "lambert_w_is_where_flow_ends",
        ),
        says(
            "For balanced cyclic preferences and uniform mu the end is the Gibbs policy of r = L / 2.",
            "cyclic_flow_ends_at_gibbs",
        ),
        says("Real optimizers end elsewhere at equal loss.", "the_optimizer_chooses"),
        says(
            "At equal beta V can be below DPO's. At equal KL it is below the best prompt-only policy by .0013 under "
            "Bradley-Terry, where nothing is to gain, and above it by .029 on W.",
            "below_dpo_with_two_responses",
            "three_responses",
            "at_equal_divergence",
        ),
        says(
            "Nor does beta -> 0 repair it: for K = 2 V then tends to V*, short of it by the share beta / L of V* - "
            "1/2, the Gibbs policy by exponentially little.",
            "shortfall_is_linear_in_beta",
        ),
        says(
            "For K = 3 the flow can settle on a worse answer the more surely the smaller beta is, which the Gibbs "
            "policy, tending to pi* on the support of mu, never does.",
            "small_beta_can_be_worse",
            "small_beta_recovers_the_best_responses",
            "the_limit",
        ),
        says(
            "On a data set a minimizer exists, with free tables, if and only if every compared pair carries both "
            "labels; then it fits every pair, cycles too, which DPO pools.",
            "exists_exactly_with_both_labels",
            "the_minimum_of_one_pair",
            "a_cycle_is_fitted_as_it_is",
        ),
        says(
            "With one label a pair, as preference sets usually have, the infimum 0 is not attained, and can be "
            "approached while pi(chosen | rejected) itself goes to 0 and V to 1/2: the loss alone does not tell.",
            "loss_to_zero_while_copying",
            "the_minimum_of_one_pair",
        ),
        says(
            "But that is not where gradient flow from the reference goes: in a pair, a cycle and a ranking of three it "
            "goes to best responses.",
            "gradient_flow_goes_to_best_responses",
        ),
        says(
            "DPO needs only a strongly connected graph of wins.",
            "exists_exactly_with_both_labels",
            "a_cycle_has_a_dpo_solution_only",
        ),
    ),
    witness=says(
        "P12 = 3/4, mu = 1/2, beta = 1: pi(y1 | y2) = .683269, V = .556939; V* = 5/8; DPO's V = 9/16 = .5625",
        "below_dpo_with_two_responses",
        "below_dpo_by_the_closed_form",
    ),
)
