"""What several test files get from pytest: the profiles, the data folder, every method with an example of it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from examples import EXAMPLES, WITHOUT_LIKELIHOOD, missing
from hypothesis import settings
from torch import Tensor

from inspo.losses import METHODS
from inspo.pairs import PairLogps

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# The tensors here are tiny, so threads cost more than they give.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        missing("the folder shared/data is not beside this checkout")
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


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A small model of random weights in a folder."""
    from tiny_base import write_base

    return write_base(tmp_path_factory.mktemp("base") / "base", seed=1)
