"""A pytest plugin: TRL's tests get ``InSPOTrainer`` and ``InSPOConfig`` for ``DPOTrainer`` and ``DPOConfig``.

The variable ``INSPO_IN_PLACE`` holds the options that a configuration has by default, a JSON object; with ``null`` the
tests keep TRL's own classes.
"""

import importlib.util
import json
import os
from collections.abc import Callable
from functools import partial

import trl
from trl import import_utils


def _is_available(name: str) -> Callable[[], bool]:
    """For ``is_PACKAGE_available`` of another release of TRL than the installed one, whose helpers import it."""
    package = name.removeprefix("is_").removesuffix("_available")
    if name != f"is_{package}_available":
        raise AttributeError(name)
    return lambda: importlib.util.find_spec(package) is not None


if "INSPO_IN_PLACE" in os.environ:  # else a test runner looks for examples in the docstrings of every file
    options = json.loads(os.environ["INSPO_IN_PLACE"])
    if options is not None:
        from inspo.trl import InSPOConfig, InSPOTrainer

        trl.DPOTrainer, trl.DPOConfig = InSPOTrainer, partial(InSPOConfig, **options)
    import_utils.__getattr__ = _is_available
