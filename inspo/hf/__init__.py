"""The one-pass engine on transformers models: every log-prob of a pair in one forward pass. Extra ``inspo[hf]``.

    model = AutoModelForCausalLM.from_pretrained(name)
    enable_tree_rows(model)                                         # once, before it is wrapped
    row = concatenate([build_row([pair], loss.requests()) for pair in pairs])
    losses = loss(request_logps(model, row), reference_logps)

=================  =========================================================================
module             what
=================  =========================================================================
``architectures``  which transformers architectures a tree row is right for
``trees``          a packed row's paths, prepared for attention
``tree_attention`` attention over trees, registered with transformers
``rows``           packed rows -> log-probs
=================  =========================================================================
"""

from inspo.hf.architectures import VERIFIED, check_supported
from inspo.hf.rows import enable_tree_rows, request_logps, row_logps, verify_tree_attention

__all__ = [
    "VERIFIED",
    "check_supported",
    "enable_tree_rows",
    "request_logps",
    "row_logps",
    "verify_tree_attention",
]
