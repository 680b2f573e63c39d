"""The fourteen plots, by name and in the order of the argument they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.plots import (
    borda,
    flip_rates,
    frontier,
    human_tables,
    margins,
    minimizer_range,
    one_sided,
    pairs_needed,
    prop_3_1,
    real_comparator,
    realizability,
    self_play,
    training_dynamics,
    valley,
)
from toy.style import Page
from toy.words import Caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plot(Protocol):
    """What a module of one plot offers."""

    def compute(self, config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
        """Every plotted number, for the built-in problems or the user's own.

        Raises:
            NotApplicableError: the plot has nothing to say about the user's table.
        """
        ...

    def describe(self, results: dict[str, Any]) -> Caption:
        """The finding in words, with its numbers."""
        ...

    def draw(self, results: dict[str, Any], page: Page) -> Figure:
        """The picture of these numbers."""
        ...


PLOTS: dict[str, Plot] = {
    "prop_3_1": prop_3_1,
    "flip_rates": flip_rates,
    "realizability": realizability,
    "valley": valley,
    "minimizer_range": minimizer_range,
    "real_comparator": real_comparator,
    "borda": borda,
    "frontier": frontier,
    "one_sided": one_sided,
    "training_dynamics": training_dynamics,
    "human_tables": human_tables,
    "pairs_needed": pairs_needed,
    "margins": margins,
    "self_play": self_play,
}

# The long ones start first, so that two processes end together.
LONGEST_FIRST = sorted(
    PLOTS, key=["frontier", "pairs_needed", "training_dynamics", "human_tables", "valley"].__contains__, reverse=True
)
