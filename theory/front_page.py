"""What VERDICTS.md opens with: the findings, each with the checks that show it; assumptions, words and references."""

Finding = tuple[str, dict[str, tuple[str, ...]]]
"""What is found, and the checks that show it, by claim."""

PAGE: dict[str, tuple[Finding, ...]] = {
    "What training finds": (
        (
            (
                "Seeing the comparator pays exactly where no one response is the best answer to all: then the policy "
                "that sees it moves second, and is worth more than any that does not."
            ),
            {
                "thm-3.2-ii": (
                    "never_negative",
                    "no_gap_iff_common_best_response",
                    "equality_is_a_common_best_response",
                    "prompt_only_at_most_optimal",
                ),
                "converse": ("three_equivalent_conditions",),
            },
        ),
        (
            (
                "The loss (9) has a valley: policies from near-copies of the comparator, worth V = "
                "1/2, up to, at small "
                "beta, nearly the best all have its least loss. Start, optimizer and step size choose among them."
            ),
            {
                "thm-4.1-eq-9": ("dimension_of_the_set", "valley_of_9", "range_of_the_value", "copying_is_the_edge"),
                "eq-10": ("the_start_chooses", "the_optimizer_chooses"),
            },
        ),
        (
            "The choice model (6), asked of all pairs, allows P = 1/2 alone.",
            {"eq-6": ("certificate", "choice_model_of_all_pairs_forces_half")},
        ),
        (
            (
                "With one label a pair, as preference sets usually have, (9) has no minimum at all. "
                "Gradient flow from the reference still went to best responses in the three cases tried."
            ),
            {"eq-10": ("exists_exactly_with_both_labels", "gradient_flow_goes_to_best_responses")},
        ),
        (
            "What is found depends on the reference, which the abstract denies, and on beta.",
            {"eq-10": ("gradient_flow_moves_with_the_reference", "three_responses", "the_reference_overrules")},
        ),
        (
            (
                "At their minima INS-DPO and INS-IPO are worth more than the reference unless P = 1/2; INS-SimPO and "
                "INS-R-DPO need not be; INS-ORPO is pushed to never copying, whoever is preferred. One-sided training, "
                "with the comparator in view, is good where the reference is even and beta small."
            ),
            {
                "variants": (
                    "ins_dpo_and_ins_ipo_are_above_one_half",
                    "ins_simpo_is_below_one_half",
                    "ins_r_dpo_is_below_one_half",
                    "orpo_always_gives_the_other_response",
                ),
                "sec-5.3": ("the_limit_at_small_beta", "even_references_do_well"),
            },
        ),
    ),
    "What is deployed": (
        (
            (
                "A policy that sees the prompt alone, and so is worth at most V(pi_bar), as DPO's is; at a given KL "
                "from the reference none is worth more than IPO's."
            ),
            {"deployment": ("never_above_prompt_only",), "dpo-solves-4": ("frontier_of_value_and_divergence",)},
        ),
        (
            (
                "What was learned with the comparator in view need not carry over: averaged over comparators even pi* "
                "can lose to the reference. What carries over is decided by what the policies with and without the "
                "comparator share; the deployed one can be worth less or more than DPO's."
            ),
            {
                "deployment": (
                    "worse_than_prompt_only",
                    "arbitrarily_bad",
                    "shared_scores_against_dpo",
                    "other_sharing_can_win",
                )
            },
        ),
        (
            "At its minimum the averaged loss of Section 5.3 deploys exactly DPO's policy.",
            {"sec-5.3": ("the_halves_share_nothing", "shared_scores_end_at_dpo")},
        ),
        (
            (
                "In none of four published tables of people's comparisons is it established that there "
                "is anything to gain."
            ),
            {
                "humans": (
                    "nothing_to_gain_explains_the_celebrities_gap",
                    "school_gaps_are_no_more_than_noise",
                    "weights_have_one_best_answer",
                )
            },
        ),
    ),
    "What repairs it": (
        (
            "P(w > l) = sigma(h(w, l) - h(l, w)) in place of (6): every P in (0, 1) has such a reward.",
            {"eq-6": ("every_preference_has_a_reward", "any_preference_is_fitted")},
        ),
        (
            "The anchored loss in place of (9): one minimizer, the solution of (7) for r = L, and pi* as beta -> 0.",
            {
                "anchored": (
                    "training_finds_it_from_anywhere",
                    "anchored_identifies",
                    "anchored_tends_to_best_responses",
                )
            },
        ),
        (
            (
                "Neither mends that the deployed policy sees the prompt alone. Such a policy, without knowing the "
                "reference, can at least keep its regret against the worst comparator as small as possible."
            ),
            {
                "deployment": ("never_above_prompt_only",),
                "regret": ("both_linear_programs", "second_mover_value_is_minimax_regret"),
            },
        ),
    ),
}

ASSUMED = (
    (
        "Finitely many responses, without which pi* need not exist: a missing assumption of Theorem 3.2 itself "
        "(thm-3.2-i). One prompt; for several, the statements hold prompt by prompt."
    ),
    "Free tables: a policy may be any probabilities for each comparator, unless a claim says what is shared.",
    "Labels are independent given the pair, and both responses of a pair are drawn from mu.",
    ("Gradient flow starts at mu for every comparator; Algorithm 1 starts at a language model that has just read y'."),
)

WORDS = (
    (
        "K, y_i",
        "the number of responses, and response i",
    ),
    (
        "P_ij, L_ij",
        "probability that y_i is preferred to y_j, and its log-odds; 1/2 and 0 for i = j",
    ),
    (
        "mu, pi_ref",
        "the reference policy, from which comparators are drawn; its support is where it is positive",
    ),
    (
        "comparator, y'",
        "the response that an answer is judged against, which a conditioned policy pi(y | x, y') sees",
    ),
    (
        "psi, V",
        ("increasing function of preferences; V(pi) = E[psi(P(y > y'))], y from pi, y' from mu; identity if not said"),
    ),
    (
        "B(j), best response",
        "the responses with the largest P_ij against y_j",
    ),
    (
        "pi*, V*; pi_bar",
        "the best policy that sees the comparator, and its value; the best that does not",
    ),
    (
        "gap",
        "V(pi*) - V(pi_bar)",
    ),
    (
        "S(i)",
        "score of y_i, the mean of psi(P_ij) over y_j from mu; by identity Borda's",
    ),
    (
        "r, pi_r, Z",
        "a reward; mu exp(r / beta) / Z, the Gibbs policy; its normalization",
    ),
    (
        "g_ij",
        "log pi(y_i | y_j) / mu_i",
    ),
    (
        "W",
        "the master witness: P12 = 3/10, P13 = 9/10, P23 = 3/5, mu uniform unless said",
    ),
    (
        "copying",
        "answering a comparator with itself",
    ),
    (
        "separable",
        "psi(P_ij) = a_i + b_j; Bradley-Terry preferences are so for log-odds",
    ),
)

REFERENCES = (
    (
        "Azar et al., A General Theoretical Paradigm to Understand Learning from Human Preferences, "
        "arXiv:2310.12036: Eq. (4), with its KL term, and IPO's closed form."
    ),
    "Rafailov et al., Direct Preference Optimization, arXiv:2305.18290.",
    "Siththaranjan et al., Distributional Preference Learning, ICLR 2024, arXiv:2312.08358: Borda's order.",
    (
        "Choi et al., Self-Improving Robust Preference Optimization, arXiv:2406.01660: an offline loss that "
        "identifies a policy with a response in view."
    ),
    (
        "Munos et al., Nash Learning from Human Feedback, arXiv:2312.00886, and Pasztor et al., Stackelberg "
        "Learning from Human Feedback, arXiv:2512.16626: preferences as a game."
    ),
    "Ford, Solution of a Ranking Problem from Binary Comparisons, 1957: when Bradley-Terry's fit exists.",
)

OWN = ("anchored", "regret", "psi-matters", "antisymmetric", "pairs-pay", "margins")
"""Results of our own, which the paper does not have: they come after its claims."""

ERRATA = ("prop-3.1-proof", "tables", "table-5", "table-6", "eq-12-13", "eq-14-15", "eq-16")
"""Of the paper's proofs, tables and appendix: they come last."""
