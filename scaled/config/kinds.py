"""Kinds of values that keys have, and what all groups of keys are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from inspo.command_line import UserError


def _number(value: Any) -> Any:
    """YAML's true and false are no numbers, although Python says so."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "must be a number")
    return value


def as_names(value: Any) -> Any:
    """A list of names, also written as one text: ``cut_prompt,drop``."""
    return tuple(value.replace(" ", "").split(",")) if isinstance(value, str) else () if value is None else value


def _name(value: str, about: ValidationInfo) -> str:
    """Text that can name a file or something on the hub."""
    if not value.isprintable():
        raise UserError(f"{about.field_name} = {value!r} holds characters that no name has")
    if max(len(part.encode()) for part in value.split("/")) > LONGEST_NAME:
        raise UserError(f"{about.field_name} = {value[:40]}...: a name of more than {LONGEST_NAME} bytes")
    return value


LONGEST_NAME = 255
"""Bytes of a file's name on common file systems."""

Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_number), Field(le=2**31 - 1)]
Seed = Annotated[int, BeforeValidator(_number), Field(ge=0, le=2**32 - 1)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Text = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_name)]


class Options(BaseModel):
    """A group of keys, or what a key is a mapping of."""

    model_config = ConfigDict(frozen=True, extra="forbid")
