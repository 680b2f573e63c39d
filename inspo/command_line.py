"""What the commands of a checkout share: a parser, and pydantic's findings, whose every mistake is one line."""

from __future__ import annotations

import argparse
import os
import select
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import ValidationError


class UserError(ValueError):
    """A mistake of the user's: one line that says what is wrong and how to fix it. Commands exit with code 2."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that raises a :class:`UserError` where argparse prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise UserError(f"{message} (--help lists the options)")


def exit_code(command: Callable[[], str | int | None], stopped: str = "stopped: the same command goes on") -> int:
    """Run a command, print the text that it returns, and end as all commands do.

    Args:
        command: it returns what it has to say, or its own exit code.
        stopped: what a stop by the user prints, where it does not say more itself.

    Returns:
        0 or the command's own; 2 for a mistake of the user's, in one line; 130 after a stop; 141 where the reader of
        the output went away, as ``head`` does.
    """
    try:
        result = command()
        if isinstance(result, str):
            sys.stdout.write(f"{result}\n")
            result = 0
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"\n{str(stop) or stopped}\n")
        return 130
    except BrokenPipeError:
        if _is_read():  # it was another pipe
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would write the rest as it exits
        return 141
    return result or 0


def _is_read() -> bool:
    """Whether standard output still has a reader."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return not output.poll(0)


def count(text: str) -> int:
    """An option's whole number of at least 1, as argparse's `type`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text", "tuple": "a list"}
_LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def first_mistake(error: ValidationError, *, optional: Sequence[str] = (), prefix: str = "") -> str:
    """Pydantic's first finding in one line, such as ``batch_size = 'many' must be a whole number``.

    Args:
        error: what pydantic raised.
        optional: fields that may also be null.
        prefix: ``--`` where fields are options of a command, which are then named as they are typed.
    """
    found = error.errors()[0]
    kind, context = found["type"], found.get("ctx", {})
    if kind == "value_error":  # of a validator of ours, which says it all
        return str(context["error"])
    name, equals = str(found["loc"][0]), " = "
    if prefix:
        name, equals = prefix + name.replace("_", "-"), " "
    shown = f"{name}{equals}{found['input']!r}"
    if kind in ("enum", "literal_error"):
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{shown} must be one of {expected}"
    for limit, words in _LIMITS.items():
        if limit in context:
            return f"{name}{equals}{found['input']} must be {words} {context[limit]}"
    if kind == "too_short":
        return f"{shown} must be at least {context['min_length']} long"
    if kind == "finite_number":
        return f"{name}{equals}{found['input']} must be a finite number"
    words = _KINDS.get(kind.partition("_")[0], found["msg"])
    return f"{shown} must be {words}" + (" or null" if name in optional else "")


def unknown_name(name: str, known: Sequence[str]) -> str:
    """``unknown key 'conditionning'; did you mean conditioning?``."""
    close = get_close_matches(name, known, 1, 0.6)
    return f"unknown key {name!r}" + (f"; did you mean {close[0]}?" if close else " (--help lists the keys)")


def one_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
