"""Numbers of two versions of the code are never mixed: who changes what makes them says whether they changed."""

import ast
import hashlib
from pathlib import Path

import pytest

import experiments
from experiments.worlds import WORLDS, world

LANGUAGE = (
    "cells",
    "../cells",
    "measuring",
    "pairs",
    "preference_models",
    "reference",
    "samples",
    "training",
    "world",
    "../policies",
)
MAKES_NUMBERS = {
    "language": LANGUAGE,
    "selfplay": ("cells", "measuring", "training", *(f"../language/{module}" for module in LANGUAGE)),
    "dialogue": (
        *("cells", "conversations", "measuring", "reference", "training"),
        *(
            f"../language/{module}"
            for module in ("cells", "../cells", "reference", "samples", "training", "world", "../policies")
        ),
    ),
    "smol": ("cells", "../cells", "measuring", "pairs", "reference", "samples", "training", "world", "../policies"),
}
KNOWN = {
    "language": (2, "3bf5488f549c"),
    "selfplay": (1, "82b6c9fd9d91"),
    "smol": (1, "fcf2d923ad98"),
    "dialogue": (1, "82308d77d376"),
}
"""The version of each world, and a digest of its code without comments, docstrings and layout."""


def code(path):
    """A module's statements as Python reads them."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.dump(tree)


@pytest.mark.parametrize("name", WORLDS)
def test_code_that_makes_numbers_has_not_changed_under_its_version(name):
    folder = Path(experiments.__file__).parent / name
    text = "".join(code(folder / f"{module}.py") for module in MAKES_NUMBERS[name])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert KNOWN[name] == (world(name).version, digest), (
        f"the code of the world {name} has changed: where a cell's numbers may have, raise VERSION; then note the "
        "version and digest here"
    )
