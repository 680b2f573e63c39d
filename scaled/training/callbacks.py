"""Functions of the user's own that a run calls: to look, to log, to sample, or to stop.

    # mine.py, beside my.yaml
    def stop_when_certain(training, kind, update, numbers):
        if kind == "validation" and numbers["deployed_accuracy"] > 0.9:
            return "the deployed policy is certain"

and ``callbacks: [mine:stop_when_certain]``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol

from inspo.command_line import UserError, one_line

Kind = Literal["update", "validation", "save"]


class Callback(Protocol):
    """Called on every rank; what all ranks do together, such as gathering, all of them must do."""

    def __call__(self, training: Any, kind: Kind, update: int, numbers: Mapping[str, float | None], /) -> str | None:
        """Look at a run.

        Args:
            training: the :class:`~scaled.training.loop.Training`, its model among others; not to be changed.
            kind: what has just been made: an update, a validation after it, or a checkpoint.
            update: its number, from 1.
            numbers: as ``metrics.jsonl`` has them, means over all ranks' pairs; none for a checkpoint.

        Returns:
            Why the run should stop after this update, saved so that it can go on; or None.
        """
        ...


def load_callbacks(names: Sequence[str]) -> tuple[Callback, ...]:
    """The functions that ``module:name`` name, see :func:`load_function`."""
    return tuple(load_function(name, "callbacks") for name in names)


def load_function(name: str, key: str) -> Any:
    """The function that ``module:name`` names; modules are looked for in the working directory too.

    Args:
        name: of it.
        key: that names it, for messages.

    Raises:
        UserError: a name of another form, or nothing of that name that can be called.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # sys.path holds texts
        sys.path.insert(0, here)
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise UserError(f"{key}: {name} must be module:function")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{key}: {name} cannot be loaded ({one_line(error)})") from error
    if not callable(found):
        raise UserError(f"{key}: {name} is no function")
    return found
