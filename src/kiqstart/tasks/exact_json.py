"""JSON that says what a value says, also where it has numbers that are no JSON: NaN and the infinities.

They are written as Python's own `json` writes and reads them; pydantic reads them, too. It writes them so in plain
values and dataclasses, and as null in its models, which is seen here and mended.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final, cast

import pydantic_core
from pydantic import BaseModel, TypeAdapter

from kiqstart.tasks.colliding_keys import refuse_colliding_keys

_MAX_PLACE: Final = 500
_NULL: Final = b"null"
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any)


MOST_DIGITS: Final = sys.int_info.default_max_str_digits
_LONG: Final = re.compile(rb"[0-9]{%d}" % (MOST_DIGITS + 1))


class NotExactError(ValueError):
    """A value holds a number for which its model has no place in JSON; the text says where."""


def dump(value: object) -> bytes:
    """JSON of what pydantic can turn into it; models by the names of their fields.

    Raises:
        PydanticSerializationError: a value that is no JSON, or text that is no UTF-8.
        CollidingKeysError: a dict whose keys are not all different there.
        ValueError: an integer of more digits than Python reads.
    """
    data = pydantic_core.to_json(value, inf_nan_mode="constants", by_alias=False)
    refuse_colliding_keys(value)
    return refuse_long_numbers(data)


def as_plain(value: object) -> object:
    """What JSON has of a value, as plain values.

    Raises:
        PydanticSerializationError: a value that is no JSON.
        CollidingKeysError: a dict whose keys are not all different there.
    """
    refuse_colliding_keys(value)
    return pydantic_core.to_jsonable_python(value, inf_nan_mode="constants", by_alias=False)


def dump_exactly(value: object, *, nulls: int = 0) -> bytes:
    """As `dump`, and NaN in a model is NaN.

    Args:
        value: is written.
        nulls: how many nulls it has at least; with no more than these, nothing can hide in it.

    Raises:
        PydanticSerializationError: a value that is no JSON, or text that is no UTF-8.
        NotExactError: NaN in a field of a model whose type does not say that it is a float.
    """
    data = dump(value)
    if data.count(_NULL) <= nulls or not _hides_numbers(value, data):
        return data
    # Of fields that are floats, it keeps the numbers.
    plain = as_plain(value)
    if sum(1 for _ in _odd_numbers(plain)) < sum(1 for _ in _odd_numbers(value)):
        place = next(_odd_numbers(value)).removeprefix(".")
        raise NotExactError(f"{place} is not a finite number, and the type of its field in the model is not float")
    return dump(plain)


def place_of_fault(value: object) -> str:
    """Where a part is that cannot be dumped, as `rows[3].price`; '' for the whole value, or if it refers to itself."""
    place = ""
    try:
        while True:
            for name, part in _parts(value):
                if not _can_be_dumped(part):
                    place, value = place + name, part
                    break
            else:
                return place.removeprefix(".")
            if len(place) > _MAX_PLACE:
                return ""
    except Exception:  # noqa: BLE001  # code of the value's own, whatever it raises; a place is a courtesy
        return ""


def _can_be_dumped(value: object) -> bool:
    try:
        dump(value)
    except Exception:  # noqa: BLE001  # as above
        return False
    return True


def _hides_numbers(value: object, data: bytes) -> bool:
    try:
        return dump(_ANY.dump_python(value)).count(_NULL) < data.count(_NULL)
    except ValueError:
        return True


def _odd_numbers(value: object, place: str = "") -> Iterator[str]:
    """The places of NaN and infinities, but for those that a serializer of the project's own writes."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place
        return
    for name, part in _parts(value):
        if not (isinstance(value, BaseModel) and _has_serializer(type(value), name[1:])):
            yield from _odd_numbers(part, place + name)


def _has_serializer(model: type[BaseModel], name: str) -> bool:
    decorators, field = model.__pydantic_decorators__, model.model_fields.get(name)
    if decorators.field_serializers or decorators.model_serializers:
        return True
    return field is not None and any(hasattr(one, "when_used") for one in field.metadata)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseModel):
        yield from ((f".{name}", part) for name, part in value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, dict):
        for key, part in cast("dict[object, object]", value).items():
            yield f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]", part
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{place}]", part) for place, part in enumerate(cast("Iterable[object]", value)))


def refuse_long_numbers(data: bytes) -> bytes:
    """Give the JSON back, if Python reads its numbers.

    Raises:
        ValueError: it has an integer of too many digits.
    """
    # A run that is so long has a digit at one of these places.
    for place in range(MOST_DIGITS, len(data), MOST_DIGITS):
        near = place - MOST_DIGITS, place + MOST_DIGITS + 1
        if data[place : place + 1].isdigit() and _LONG.search(data, *near):
            # It may stand in a text.
            json.loads(data)
            break
    return data
