"""Section 5.3, Table 5: does conditioning cost 18 to 25 % more training time?

Per pair, plain DPO runs x w and x l; INS-DPO runs x l w and x w l. With time proportional to tokens, and
without padding, the ratio is arithmetic.
"""

from fractions import Fraction

import z3
from hypothesis import strategies as st

from theory import solver, strategies
from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="table-5",
    paper="Sec. 5.3, Table 5; App. D.5, Table 7 (time)",
    quote="Sequence-level conditioning incurs 18 - 25% training time overhead due to processing longer inputs",
    reading="Training on (14) and (15) takes 18 to 25 % more time than on plain pairs, 21 % in Table 5.",
    truth=(
        says(
            "In tokens the overhead is (w + l) / (2x + w + l), between 0 and 100 %.",
            "any_share_up_to_all",
        ),
        says(
            "18-25 % needs prompts of 1.5 to 2.3 times both responses together.",
            "the_prompts_it_takes",
            "the_printed_21_percent",
        ),
        says(
            "For ordinary chat data (x, w, l = 42, 369, 180) it is 87 %, or 65 % if the reference's plain "
            "forward pass is counted.",
            "chat_data",
        ),
    ),
    missing=says(
        "prompts about twice as long as both responses together", "the_prompts_it_takes", "the_printed_21_percent"
    ),
    witness=says("x, w, l = 42, 369, 180 tokens: 549 / 633 = 87 %", "chat_data"),
)


def plain(x: int, w: int, ell: int) -> int:
    """Tokens of DPO's two sequences."""
    return (x + w) + (x + ell)


def conditioned(x: int, w: int, ell: int) -> int:
    """Tokens of INS-DPO's two sequences, without separators."""
    return (x + ell + w) + (x + w + ell)


def overhead(x: int, w: int, ell: int) -> Fraction:
    """Additional tokens as a share of plain DPO's."""
    return Fraction(conditioned(x, w, ell), plain(x, w, ell)) - 1


@CLAIM.check(Role.REFUTED, "exact")
def chat_data() -> str:
    """x, w, l = 42, 369, 180: 1182 tokens against 633; with a reference pass of a third, 65 %."""
    length = {"x": 42, "w": 369, "l": 180}
    dpo, ins_dpo = (sum(length[part] for part in sequences) for sequences in ("xw" + "xl", "xlw" + "xwl"))
    assert (dpo, ins_dpo) == (633, 1182)
    more = Fraction(ins_dpo, dpo) - 1
    reference = Fraction(1, 3) * dpo
    with_reference = (ins_dpo + reference) / (dpo + reference) - 1
    assert with_reference == Fraction(3, 4) * more
    return f"{float(more):.0%}, with the reference's pass {float(with_reference):.0%}"


@CLAIM.check(Role.REFUTED, "property")
def any_share_up_to_all() -> str:
    """Random lengths: the overhead is (w + l) / (2x + w + l), in (0, 1)."""

    def formula(x: int, w: int, ell: int) -> None:
        assert overhead(x, w, ell) == Fraction(w + ell, 2 * x + w + ell)
        assert 0 < overhead(x, w, ell) < 1

    lengths = st.integers(1, 4096)
    return f"{strategies.for_all(formula, lengths, lengths, lengths, tries=60)} lengths"


@CLAIM.check(Role.REPAIRED, "z3")
def the_prompts_it_takes() -> str:
    """Overhead within 18-25 % if and only if 3/2 (w + l) <= x <= 41/18 (w + l)."""
    x, responses = z3.Reals("x responses")
    within = z3.And(responses >= z3.Q(18, 100) * (2 * x + responses), responses <= z3.Q(25, 100) * (2 * x + responses))
    bounds = z3.And(x >= z3.Q(3, 2) * responses, x <= z3.Q(41, 18) * responses)
    solver.prove([x > 0, responses > 0], within == bounds)
    return "proved: prompts of 1.5 to 2.28 times both responses"


@CLAIM.check(Role.REPAIRED, "exact")
def the_printed_21_percent() -> str:
    """21 % exactly: x = 79/42 (w + l), for example x = 790 with w + l = 420."""
    assert overhead(790, 300, 120) == Fraction(21, 100)
    return "x = 790, w + l = 420"
