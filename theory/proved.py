"""Theorems of theory/proofs as evidence: checks of the kind "proof", which hold for every number of responses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from theory.proofs import check_file, missing, theorem


@cache
def _check(file: str) -> None:
    if missing() is None:
        check_file(file)


def proof_of(name: str) -> Callable[[], str]:
    """A check that Coq accepts the theorem of that name, which its sentence describes.

    Where Coq is not installed the check says no more than that the theorem is written down; `make proofs` installs it.
    That is why proofs count for no verdict.

    Raises:
        KeyError: there is no such theorem; the message lists the known ones.
    """
    stated = theorem(name)

    def run() -> str:
        _check(stated.file)
        return f"theorem `{name}` in theory/proofs/{stated.file}; `make proofs` checks it"

    run.__name__ = name
    run.__doc__ = stated.sentence
    return run
