"""Appendix C.2, Eq. (14) and (15): does masking keep gradients inside the target?

The two sequences are x, l, w and x, w, l. The loss counts the target's tokens only. But in a causal
transformer the target attends to the context's keys and values, so its loss has a gradient there.
"""

import numpy as np
import torch

from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="eq-14-15",
    paper="App. C.2, Eq. (14), (15); App. D.5, Table 7 (memory)",
    quote=(
        "with appropriate masking to ensure that gradients only flow through the target response tokens ... standard "
        "causal masking with additional attention from target tokens to all preceding tokens ... Activations for the "
        "conditioning context (y_l or y_w) do not require gradient computation"
    ),
    reading="",
    truth=(
        says(
            "Masking the loss keeps the context's own predictions out of it, but the gradient still flows "
            "through the context's keys and values, whose activations are kept for it, unless it is cut on purpose.",
            "attention_has_a_gradient_in_the_context",
            "autograd_agrees",
            "detaching_makes_it_true",
            "constants_instead_of_context",
        ),
        says(
            "Plain causal masking already lets every target token see all that precedes it: there is nothing to add.",
            "nothing_to_add_to_the_causal_mask",
        ),
    ),
    missing=says(
        "the context's keys and values detached from the graph",
        "detaching_makes_it_true",
        "constants_instead_of_context",
    ),
    witness=says(
        "one attention step, two tokens: d out / d context value = softmax weight > 0",
        "attention_has_a_gradient_in_the_context",
    ),
)


@CLAIM.check(Role.REFUTED, "symbolic")
def attention_has_a_gradient_in_the_context() -> str:
    """out = (e^(q k1) v1 + e^(q k2) v2) / (e^(q k1) + e^(q k2)), token 2 the target: slopes in k1 and v1."""
    import sympy as sp

    q, k1, k2, v1, v2 = sp.symbols("q k1 k2 v1 v2", real=True)
    weight = sp.exp(q * k1) / (sp.exp(q * k1) + sp.exp(q * k2))
    out = weight * v1 + (1 - weight) * v2
    assert sp.simplify(sp.diff(out, v1) - weight) == 0
    assert sp.simplify(sp.diff(out, k1) - q * weight * (1 - weight) * (v1 - v2)) == 0
    at_zero = {q: 0, k1: 0, k2: 0}
    assert sp.diff(out, v1).subs(at_zero) == sp.Rational(1, 2)
    return "d out / d v1 = weight = 1/2 at equal keys; d out / d k1 = q w (1 - w)(v1 - v2)"


def target_loss(context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A loss on the target's positions only, through one layer of causal attention without projections."""
    tokens = torch.cat([context, target])[None]
    out = torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)[0]
    return out[len(context) :].square().sum()


@CLAIM.check(Role.REFUTED, "numeric")
def autograd_agrees() -> str:
    """A causal layer with the loss on the target alone: the context's embeddings receive a gradient."""
    rng = np.random.default_rng(0)
    context = torch.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    target = torch.tensor(rng.normal(size=(3, 3)))
    (gradient,) = torch.autograd.grad(target_loss(context, target), context)
    assert gradient.abs().min() > 1e-3
    return f"largest slope in the context {gradient.abs().max().item():.2f}"


@CLAIM.check(Role.REFUTED, "identity")
def nothing_to_add_to_the_causal_mask() -> str:
    """For all lengths up to 5 of x, context and target: the causal mask holds 'target sees all before it'."""
    for x in range(1, 6):
        for context in range(1, 6):
            for target in range(1, 6):
                n, start = x + context + target, x + context
                causal = {(q, k) for q in range(n) for k in range(q + 1)}
                added = {(q, k) for q in range(start, n) for k in range(q)}
                assert added <= causal
    return "125 layouts, no entry is new"


@CLAIM.check(Role.REPAIRED, "numeric")
def detaching_makes_it_true() -> str:
    """The same layer with the context detached: the target's gradient is the same, and the context has none."""
    rng = np.random.default_rng(0)
    context = torch.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    target = torch.tensor(rng.normal(size=(3, 3)), requires_grad=True)
    on_context, on_target = torch.autograd.grad(
        target_loss(context.detach(), target), [context, target], allow_unused=True
    )
    (attached,) = torch.autograd.grad(target_loss(context, target), target)
    assert on_context is None
    assert torch.equal(on_target, attached)
    return "no gradient in the context"


@CLAIM.check(Role.REPAIRED, "symbolic")
def constants_instead_of_context() -> str:
    """Two tokens, k and v linear in each: with k1 and v1 held constant the slope in x1 is 0, in x2 as before."""
    import sympy as sp

    x1, x2, q, a, b, k1, v1 = sp.symbols("x1 x2 q a b k1 v1", real=True)

    def out(key: sp.Expr, value: sp.Expr) -> sp.Expr:
        weights = [sp.exp(q * x2 * key), sp.exp(q * x2 * a * x2)]
        return (weights[0] * value + weights[1] * b * x2) / sum(weights)

    held, attached = out(k1, v1), out(a * x1, b * x1)
    assert sp.diff(held, x1) == 0
    assert sp.diff(attached, x1) != 0
    assert sp.simplify(sp.diff(held, x2).subs({k1: a * x1, v1: b * x1}) - sp.diff(attached, x2)) == 0
    return "slope 0 in the context; the target's unchanged"
