"""What several test files share: the profiles, the peers' data folder, and one example of every method."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from inspo.losses import METHODS
from inspo.pairs import PairLogps

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# The tensors here are tiny, so threads cost more than they give.
torch.set_num_threads(1)

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


def fail_in_ci_else_skip(reason: str) -> NoReturn:
    """Skip for what is missing, unless INSPO_REQUIRE_DATA=1 says that nothing may be.

    The project's own CI sets it (.ci/run), so that there a missing folder is an error and not a reason to look
    away. A fork has neither the data nor the variable, whatever its CI sets, and passes with skips that say why.
    """
    if os.environ.get("INSPO_REQUIRE_DATA") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        fail_in_ci_else_skip("the folder shared/data is not beside this checkout")
    return folder


@pytest.fixture(params=METHODS)
def method(request) -> str:
    """The configuration name of every method in turn."""
    return request.param


@pytest.fixture
def loss(method) -> Callable[..., Tensor]:
    """The method's loss at its example hyperparameters; keywords given in the call come on top."""
    return partial(METHODS[method].loss, **EXAMPLES[method])


@pytest.fixture
def contrast(method, loss) -> Callable[..., Tensor]:
    """The same loss without its likelihood term."""
    return partial(loss, **WITHOUT_LIKELIHOOD.get(method, {}))


@pytest.fixture
def make_pairs() -> Callable[..., PairLogps]:
    """Random pairs with reference and lengths: log-probs N(-30, 8^2) nats, 1 to 40 tokens."""

    def make(seed: int = 0, shape: tuple[int, ...] = (6,), dtype: torch.dtype = torch.float64) -> PairLogps:
        generator = torch.Generator().manual_seed(seed)
        # Log-probs stay below zero, as every probability of a sequence does.
        logps = [-(30 + 8 * torch.randn(shape, generator=generator, dtype=dtype)).abs() for _ in range(4)]
        lengths = [torch.randint(1, 41, shape, generator=generator) for _ in range(2)]
        return PairLogps(*logps, *lengths)

    return make


@pytest.fixture
def pairs(make_pairs) -> PairLogps:
    return make_pairs()


def one_pair(*values: float, dtype: torch.dtype = torch.float64) -> PairLogps:
    """One pair, shape (1,), of two to six numbers in PairLogps' order."""
    return PairLogps(*(torch.tensor([value], dtype=dtype) for value in values))


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A small model of random weights in a folder."""
    from tiny_base import write_base

    return write_base(tmp_path_factory.mktemp("base") / "base", seed=1)
