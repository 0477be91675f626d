"""Values as text of which equal ones have the same: in every process, and whether they came as objects or as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from typing import Final

from pydantic import BaseModel

from kiqstart.tasks.formatting import as_json

# Decimals with a larger exponent are written with it.
_MOST_ZEROS: Final = 30


def canonical_text(value: object) -> str:
    """A validated value as text: scalars as `str` has them, times in UTC, everything else as JSON.

    Raises:
        PydanticSerializationError: it is not JSON.
    """
    plain = _plain(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":")) if isinstance(plain, list | dict) else str(plain)


def in_utc(value: datetime) -> datetime:
    """The same instant in UTC; a time without a time zone as it is."""
    try:
        return value.astimezone(UTC) if value.utcoffset() is not None else value
    except OverflowError:  # in the first or the last day that there is
        return value


@singledispatch
def _plain(value: object) -> object:
    """What JSON has for a value, in one form."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    written = as_json(value)
    return _plain(written) if isinstance(written, list | dict) else written


@_plain.register(bool)
@_plain.register(type(None))
def _same(value: object) -> object:
    return value


@_plain.register
def _text(value: str) -> str:
    # That of an Enum would be its name.
    return str.__str__(value)


@_plain.register
def _whole(value: int) -> int:
    return int(value)


@_plain.register
def _number(value: float) -> float:
    return int(value) if value.is_integer() else float(value)


@_plain.register
def _decimal(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):  # infinite, or not a number
        return str(value)
    while len(digits) > 1 and not digits[-1]:
        digits, exponent = digits[:-1], exponent + 1
    if digits == (0,):
        return "0"
    plain = Decimal((sign, digits, exponent))
    return format(plain, "f") if abs(exponent) < _MOST_ZEROS else str(plain)


@_plain.register
def _instant(value: datetime) -> str:
    return in_utc(value).isoformat().replace("+00:00", "Z")


@_plain.register
def _model(value: BaseModel) -> object:
    return {name: _plain(inner) for name, inner in value}


@_plain.register(Mapping)
def _mapping(value: Mapping[object, object]) -> object:
    return {str(_plain(name)): _plain(inner) for name, inner in value.items()}


@_plain.register(AbstractSet)
def _set(value: AbstractSet[object]) -> object:
    return sorted((_plain(inner) for inner in value), key=lambda plain: json.dumps(plain, sort_keys=True))


@_plain.register(list)
@_plain.register(tuple)
def _sequence(value: Sequence[object]) -> object:
    return [_plain(inner) for inner in value]
