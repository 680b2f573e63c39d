"""What several test files import: an example of every method, and what to do about what is not there.

Not in conftest.py: folders have one each, and only one of them can be imported by that name.
"""

import os
from typing import Any, NoReturn

import pytest
import torch

from inspo.pairs import PairLogps

# One setting of every method, none at a special value. `contrast` is the same without its likelihood
# term, where the method has one, so that only the comparison of the two responses is left.
EXAMPLES: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.3},
    "ipo": {"tau": 0.4},
    "r-dpo": {"beta": 0.3, "alpha": 0.05},
    "orpo": {"lam": 0.7},
    "simpo": {"beta": 2.0, "gamma": 0.6},
    "rrhf": {"lam": 0.3},
    "slic": {"delta": 1.5, "lam": 0.3},
    "cpo": {"beta": 0.3, "lam": 0.5},
    "kto": {"kl": 0.2, "beta": 0.3, "lam_w": 1.5, "lam_l": 0.5},
}
WITHOUT_LIKELIHOOD: dict[str, dict[str, Any]] = {
    "orpo": {"likelihood": torch.zeros(())},
    "rrhf": {"lam": 0.0},
    "slic": {"lam": 0.0},
    "cpo": {"lam": 0.0},
}


def one_pair(*values: float, dtype: torch.dtype = torch.float64) -> PairLogps:
    """One pair, shape (1,), of two to six numbers in PairLogps' order."""
    return PairLogps(*(torch.tensor([value], dtype=dtype) for value in values))


def missing(reason: str) -> NoReturn:
    """Skip for what is missing, unless INSPO_REQUIRE_DATA=1 says that nothing may be.

    The project's own CI sets it (.ci/run), so that there a missing folder is an error and not a reason to look
    away. A fork has neither the data nor the variable, whatever its CI sets, and passes with skips that say why.
    """
    if os.environ.get("INSPO_REQUIRE_DATA") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
