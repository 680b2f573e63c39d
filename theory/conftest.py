"""Assertions in the claims' files explain themselves, as those in tests do."""

import pkgutil
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite(
    *(f"theory.{module.name}" for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
)
torch.set_num_threads(1)
