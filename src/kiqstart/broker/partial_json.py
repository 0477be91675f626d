"""JSON objects of which perhaps only the beginning is there, whoever has written them."""

from collections.abc import Mapping
from typing import Final, Literal, cast

import pydantic_core

NOTHING: Final[Mapping[str, object]] = {}


def whole_object(data: bytes) -> Mapping[str, object] | None:
    """A JSON object; None where it was cut, or is none."""
    try:
        found: object = pydantic_core.from_json(data)
    except ValueError:
        return None
    return mapping_of(found)


def beginning_of_object(
    data: bytes, *, partial: Literal[True, "trailing-strings"] = "trailing-strings"
) -> Mapping[str, object]:
    """A JSON object, or what its first bytes have of it; with `trailing-strings` a text that was cut included."""
    try:
        return mapping_of(pydantic_core.from_json(data, allow_partial=partial))
    except ValueError:
        return NOTHING


def is_whole(data: bytes) -> bool:
    """Whether an object was not cut: what was does not end so, but for a chance in which only a mark is missing."""
    return data.endswith(b"}")


def mapping_of(value: object) -> Mapping[str, object]:
    """A value that is an object; nothing for any other."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else NOTHING


def text_in(fields: Mapping[str, object], name: str) -> str | None:
    """A field that is text; None for any other."""
    value = fields.get(name)
    return value if isinstance(value, str) else None
