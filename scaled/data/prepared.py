"""A folder that ``python -m scaled.data prepare`` wrote, as the data of a run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from scaled.config import DataOptions
from scaled.data import store
from scaled.data.templates import Template, tokenizer_digest

FACTS = "prepared.json"
"""The file by which such a folder is known."""

FORMAT = 2
"""Counted up whenever a folder of the same facts would hold other pairs."""

TOKENIZER = "tokenizer"
"""The folder of a tokenizer that was trained on the data."""

SIDES = ("train", "validation")
"""What the facts tell apart."""

DECISIVE = ("data", "validation", "validation_size", "limit", "columns", "filters", "soft_labels")
"""Keys that decided which records there are."""

OF_DATA = tuple(DataOptions.model_fields)
"""Keys that the facts hold."""

OF_TEMPLATE = ("template", "chat_template_kwargs")
"""Keys that, with the tokenizer and the day, decided the tokens."""


@dataclass(frozen=True)
class Prepared:
    """Prepared data.

    Attributes:
        folder: where they are.
        facts: what they were made from, and what was left out; see :mod:`scaled.data.preparation`.
    """

    folder: Path
    facts: Mapping[str, Any]

    @classmethod
    def named(cls, options: DataOptions) -> Prepared | None:
        """The prepared data that `data` names; None where it names others.

        Raises:
            ValueError: they are mixed with others, not as they were written, or not what other keys ask for.
        """
        if not is_prepared(options):
            return None
        path = options.data[0].path
        if len(options.data) > 1 or options.data[0].model_dump(exclude_defaults=True) != {"path": path}:
            raise ValueError(f"{path}: prepared data are the whole data of a run: name the folder alone")
        found = cls(Path(path), facts_of(Path(path)))
        for name in DECISIVE[1:]:
            default = DataOptions.model_fields[name].default
            if getattr(options, name) not in (default, getattr(found.options, name)):
                there = found.facts["options"].get(name, default)
                raise ValueError(
                    f"{name} = {_shown(options, name)}: {path} was prepared with {_as_json(there)}: leave {name} out, "
                    "or prepare the data again"
                )
        return found

    @property
    def options(self) -> DataOptions:
        """What the configuration said that they were prepared with."""
        return DataOptions.model_validate(self.facts["options"])

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """By key, what was wrong with records -> how many were left out."""
        found: dict[str, dict[str, int]] = self.facts["left_out"]
        return found

    @property
    def date(self) -> dt.date | None:
        """The day that the chat template was told, if it asks for one."""
        day = self.facts["date"]
        return None if day is None else dt.date.fromisoformat(day)

    def own_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that was trained on these data.

        Raises:
            ValueError: another one was named.
        """
        if not (self.folder / TOKENIZER).is_dir():
            name = self.facts["tokenizer"]["name"]
            raise ValueError(f"{self.folder}: was prepared with the tokenizer of {name}: set tokenizer={name}")
        return cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(str(self.folder / TOKENIZER)))

    def check(self, options: DataOptions, tokenizer: PreTrainedTokenizerBase, template: Template, rows: int) -> None:
        """Check that a run makes the same tokens of the same texts.

        Args:
            options: of the run.
            tokenizer: its.
            template: its.
            rows: of the model's input embedding.

        Raises:
            ValueError: it does not.
        """
        if self.facts["tokenizer"]["digest"] != tokenizer_digest(tokenizer):
            raise ValueError(
                f"{self.folder}: was prepared with another tokenizer, of {self.facts['tokenizer']['name']}: "
                "name that one, or prepare the data again with this run's"
            )
        for name in OF_TEMPLATE:
            here, there = getattr(options, name), getattr(self.options, name)
            if here != there:
                raise ValueError(
                    f"{name} = {_shown(options, name)}: {self.folder} was prepared with {_as_json(there)}: "
                    f"set {name} to that, or prepare the data again"
                )
        if self.facts["template"] != template.fingerprint:
            raise ValueError(
                f"{self.folder}: was prepared with another chat template, or on another day: prepare the data again"
            )
        largest = max(self.facts[side]["largest_token"] for side in SIDES)
        if largest >= rows:
            raise ValueError(
                f"{self.folder}: token id {largest} is outside the vocabulary of {rows}: the tokenizer does not fit "
                "the model; load the model's own, or resize its embedding"
            )

    def sides(self) -> list[tuple[store.Stored, dict[str, int]]]:
        """The pairs to train on and those to validate on, and what happened while they were tokenized -> how often.

        Raises:
            ValueError: files that are gone or changed.
        """
        return [(self._pairs(side), self.facts[side]["counts"]) for side in SIDES]

    def _pairs(self, side: str) -> store.Stored:
        files = {self.folder / name: tuple(found) for name, found in self.facts[side]["files"].items()}
        for file, expected in files.items():
            if not file.is_file() or store.checksum(file) != expected:
                wrong = "is changed since it was" if file.is_file() else "is gone since it was"
                raise ValueError(f"{file} {wrong} prepared: put it back, or prepare the data again")
        return store.Stored(list(files))


def is_prepared(options: DataOptions) -> bool:
    """Whether `data` names prepared data, alone or among others."""
    try:
        return any((Path(source.path) / FACTS).is_file() for source in options.data)
    except OSError:  # a folder that may not be read, or too long a name: reading it says so
        return False


def facts_of(folder: Path) -> dict[str, Any]:
    """What a folder says of its data.

    Raises:
        ValueError: nothing that can be read, or of another version.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        DataOptions.model_validate(facts["options"])
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, not {FORMAT}")  # noqa: TRY301  # told as the others
        _ = facts["tokenizer"]["digest"], facts["template"], facts["left_out"], facts["train"], facts["validation"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / FACTS} is not as it was written ({error}): prepare the data again") from error
    return facts


def _shown(options: DataOptions, name: str) -> str:
    return _as_json(options.model_dump(mode="json")[name])


def _as_json(value: Any) -> str:
    return json.dumps(value)
