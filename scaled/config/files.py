"""Configurations as text: YAML files over each other, and settings over all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inspo.command_line import UserError, one_line

LARGEST_FILE = 2**20
"""Bytes of a configuration."""


def compose(
    paths: Sequence[str | Path], settings: Sequence[str] = (), *, nested: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """One mapping of several files and settings, later ones over earlier ones key by key.

    Args:
        paths: YAML files of one mapping each.
        settings: ``key=value`` each, over all files.
        nested: a key whose value is a mapping itself; what is below it are keys of their own, ``nested.key``.

    Returns:
        Values by key, and by key the file that each is from, or ``--set``.

    Raises:
        UserError: a file that cannot be read or is no mapping, a setting that is none, or a file that would be
            ignored, since later files give each of its keys again.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    given: dict[str, set[str]] = {}
    for path in map(str, paths):
        found = _flat(read_mapping(Path(path)), nested)
        if path in given:
            raise UserError(f"--config {path} is given twice: leave one out")
        given[path] = set(found)
        values |= found
        origin |= dict.fromkeys(found, path)
    for path, keys in given.items():
        if keys and path not in origin.values():
            others = ", ".join(dict.fromkeys(origin[key] for key in sorted(keys)))
            raise UserError(f"--config {path} has no effect: {others} gives all of its keys again; leave one out")
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as key=value")
        found = _flat({key.strip(): read_yaml(text, f"--set {setting}")}, nested)
        values |= found
        origin |= dict.fromkeys(found, "--set")
    return values, origin


def _flat(values: Mapping[str, Any], nested: str | None) -> dict[str, Any]:
    """With the keys below `nested` as ``nested.key``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key == nested and isinstance(value, Mapping):
            flat |= {f"{nested}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def with_origin(error: ValidationError, mistake: str, origin: Mapping[str, str]) -> str:
    """A mistake behind the files whose keys it is about: its field's, or those that it speaks of."""
    place = error.errors()[0]["loc"]
    fields = [str(place[0])] if place else [key for key in origin if re.search(rf"\b{re.escape(str(key))}\b", mistake)]
    files = dict.fromkeys(origin[key] for key in fields if origin.get(key, "--set") != "--set")
    return f"{', '.join(files)}: {mistake}" if files else mistake


def read_mapping(path: Path) -> dict[str, Any]:
    """A file of one YAML mapping.

    Raises:
        UserError: it cannot be read, or is none.
    """
    like = "name a YAML file such as scaled/configs/tiny.yaml"
    try:
        if not path.exists():
            raise UserError(f"--config {path}: No such file or directory; {like}")
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:  # a pipe or device may never end
            raise UserError(f"--config {path}: no regular file of at most {LARGEST_FILE} bytes; {like}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}; {like}") from None
    values = read_yaml(text, str(path))
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: must be a mapping of keys to values, such as 'method: dpo'")
    return dict(values)


def read_yaml(text: str, name: str) -> Any:
    """What a text in YAML says.

    Args:
        text: without aliases, and with each key once.
        name: whose it is, for messages.

    Raises:
        UserError: it says nothing that can be read.
    """
    import yaml

    class Strict(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        """Refuses keys given twice, of which the last would win, and aliases, which can unfold without end."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "aliases are not read: write the value again", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # yaml's signature
            seen: set[str] = set()
            for key, _ in node.value:
                if str(key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Strict)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or one_line(error)
        raise UserError(f"{name}: not valid YAML{place} ({what})") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply; keys are flat") from None
    except (ValueError, OverflowError) as error:  # a date that is none, a number of thousands of digits
        raise UserError(f"{name}: not valid YAML ({one_line(error)})") from None
