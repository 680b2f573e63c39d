"""InSPO: preference optimization with log-probs conditioned on the other response.

Paper: Li, Lan, Qi, "InSPO: Unlocking Intrinsic Self-Reflection for LLM Preference Optimization",
arXiv:2512.23126. Equation, table and section numbers in this package refer to it.
"""

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role, conditioned_loss
from inspo.losses import METHODS, Method
from inspo.pairs import PairLogps, PreferencePair
from inspo.preference_loss import PreferenceLoss

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "Conditioning",
    "LogpRequest",
    "Method",
    "PairLogps",
    "PreferenceLoss",
    "PreferencePair",
    "ReferenceContext",
    "Role",
    "conditioned_loss",
]
