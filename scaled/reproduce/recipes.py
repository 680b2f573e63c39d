"""Which configuration each run of the paper's tables has: files of ``scaled/configs``, and settings."""

from __future__ import annotations

from typing import NamedTuple

BASES = {
    "mistral-7b": "mistral-7b-instruct-v0.2",
    "llama-3-8b": "llama-3-8b-instruct",
    "gemma-2-9b": "gemma-2-9b-it",
}
"""A table's name of a model to its file in ``base/``."""


class Recipe(NamedTuple):
    """What a run adds to its model, data and hardware.

    Attributes:
        method: a file of ``method/``.
        strategy: a file of ``strategy/``; empty for the method without conditioning.
        settings: ``key=value`` each.
    """

    method: str
    strategy: str = ""
    settings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Below ``scaled/configs``."""
        return (f"method/{self.method}.yaml", *([f"strategy/{self.strategy}.yaml"] if self.strategy else []))


METHODS = ("rrhf", "slic", "cpo", "kto", "ipo", "orpo", "r-dpo", "dpo", "simpo")
WINDOW = (4096, "40")
"""MaxLen and draft cap of Table 3 that all other tables have: ``ins-dpo`` itself."""
_CAPS = {"30": "0.3", "40": "0.4", "50": "0.5", "uncapped": "null"}

RECIPES: dict[str, Recipe] = {
    **{method: Recipe(method) for method in METHODS},
    **{f"ins-{method}": Recipe(method, "symmetric") for method in METHODS},
    **{
        f"ins-dpo-{length}-{name}": Recipe("dpo", "symmetric", (f"max_length={length}", f"draft_cap={cap}"))
        for length in (1024, 2048, 4096)
        for name, cap in _CAPS.items()
        if (length, name) != WINDOW
    },
    "one-sided-dpo": Recipe("dpo", "one-sided"),
    "averaged-dpo": Recipe("dpo", "averaged"),
}
"""By the run's name in tables and result files; `instruct`, where nothing is trained, is not among them."""
