"""Generated bad values of every key: one line that names the key and exit code 2, before any work.

The values follow from each field's type and limits (:func:`bad_values`), so that a new key is covered as it stands.
"""

import random
import time
from collections.abc import Iterator
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from scaled.config import FIELDS, OPTIONAL
from scaled.train import main

VALUES = 240
SECONDS = 30
NO_NUMBERS = (".nan", ".inf", "-.inf", "many", "true", "[1]", "''", "1e400", "9" * 400, "2026-01-01", "{a: 1}", "~x")
NO_TEXTS = ("[1, [2]]", "3", "true", "''", '"a\\0b"', '"\\ud800"', "x" * 300, "2026-01-01", "{a: 1}", "[null]")
LIMITS = {"ge": -1, "gt": 0, "le": 1, "lt": 0}
"""What is bad of a limit: this much beside it."""


def parts(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """A field's type without null, and all of its limits."""
    inner = [part for part in get_args(annotation) if part is not NoneType]
    if type(None) in get_args(annotation) and len(inner) == 1:
        return parts(inner[0], metadata)
    if hasattr(annotation, "__metadata__"):
        found = [limit for one in annotation.__metadata__ for limit in getattr(one, "metadata", [one])]
        return parts(get_args(annotation)[0], [*metadata, *found])
    return annotation, metadata


def bad_values(name: str, field: FieldInfo) -> Iterator[str]:
    """YAML of values that a key must refuse."""
    kind, limits = parts(field.annotation, list(field.metadata))
    if name not in OPTIONAL:
        yield from () if get_origin(kind) is tuple else ("null",)  # a list of names may be written as null
    for limit in limits:
        yield from (repr(getattr(limit, bound) + beside) for bound, beside in LIMITS.items() if hasattr(limit, bound))
    if kind in (int, float):
        yield from NO_NUMBERS
        yield from ("1.5",) if kind is int else ()
    elif kind is bool:
        yield from ("3", "2", "maybe", "''", "[true]", ".nan", "{a: 1}", "1.0e+400")
    elif kind is str:
        yield from NO_TEXTS
    elif get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        yield from ("no-such-choice", "3", "''", "[]", "{a: 1}", "true", '"\\ud800"', "x" * 300)
    elif get_origin(kind) is tuple:
        yield from ("3", "[[1]]", "[null]", "[.nan]", "['']", '["a\\0b"]', "true", "{a: 1}")
    else:  # mappings and dates
        yield from ("[1]", "'no such'", ".nan", "true" if get_origin(kind) is dict else "[]", "[null]")


def all_values() -> list[tuple[str, str]]:
    """At least one value of every key, and at random as many others as are wanted."""
    draw = random.Random(0)  # noqa: S311  # the same values every time
    of_keys = {name: list(dict.fromkeys(bad_values(name, field))) for name, field in FIELDS.items()}
    for found in of_keys.values():
        draw.shuffle(found)
    first = [(name, found.pop()) for name, found in of_keys.items()]
    others = [(name, value) for name, found in of_keys.items() for value in found]
    return [*first, *draw.sample(others, VALUES - len(first))]


@pytest.mark.parametrize("way", ["file", "--set"])
def test_every_bad_value_is_one_line_with_its_key(tmp_path, monkeypatch, capsys, way):
    wrong = []
    file = tmp_path / "config.yaml"
    monkeypatch.chdir(tmp_path)
    for name, value in all_values()[way == "--set" :: 2]:
        file.write_text(f"{name}: {value}\n" if way == "file" else "{}")
        more = [] if way == "file" else ["--set", f"{name}={value}"]
        monkeypatch.setattr("sys.argv", ["train.py", "--config", str(file), *more])
        started = time.monotonic()
        try:
            code: object = main()
        except Exception as error:  # noqa: BLE001  # what must not be
            code = repr(error)[:100]
        said = capsys.readouterr().err.strip()
        right = code == 2 and len(said.splitlines()) == 1 and name in said and time.monotonic() - started < SECONDS
        if not right:
            wrong.append(f"{name}: {value[:40]} -> {code}, {said[:160]!r}")
    assert not wrong, "\n".join(wrong)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml"}


def test_every_key_has_bad_values_of_its_own():
    values = all_values()
    assert len(values) == VALUES
    assert {name for name, _ in values} == set(FIELDS)
