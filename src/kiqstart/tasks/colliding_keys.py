"""Dicts of which JSON would lose a part without a word: `{1: 2, "1": 3}` has one key there."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Final, cast

import orjson
import pydantic_core
from pydantic import BaseModel

# It takes no keys but text, which cannot collide, and says so at the speed of C.
_ALL_KEYS_ARE_TEXT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_SCALARS: Final = (str, bytes, int, float, type(None))


class CollidingKeysError(ValueError):
    """Two keys of a dict are one in JSON; the text names them."""


def refuse_colliding_keys(value: object) -> None:
    """Let pass what keeps all of its parts in JSON.

    Raises:
        CollidingKeysError: a dict in it does not.
    """
    try:
        orjson.dumps(value, option=_ALL_KEYS_ARE_TEXT)
    except TypeError:
        _look_through(value)


def _look_through(value: object) -> None:
    # By their ids, and kept, so that nothing else takes one of these.
    waiting, seen = [value], dict[int, object]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, _SCALARS) or id(one) in seen:
            continue
        seen[id(one)] = one
        waiting.extend(_parts(one))


def _check(mapping: Mapping[object, object]) -> None:
    if all(type(key) is str for key in mapping):
        return
    known: dict[str, object] = {}
    for key in mapping:
        text = _written(key)
        if text in known:
            raise CollidingKeysError(f"the keys {known[text]!r:.50} and {key!r:.50} are one in JSON")
        known[text] = key


def _written(key: object) -> str:
    try:
        [text] = cast("Mapping[str, None]", pydantic_core.to_jsonable_python({key: None}, inf_nan_mode="constants"))
    except ValueError:  # it is no key that JSON has, which is for others to say
        return repr(key)
    return text


def _parts(value: object) -> Iterable[object]:
    """What a value consists of.

    Raises:
        CollidingKeysError: it is a dict of which JSON would lose a part.
    """
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        _check(mapping)
        return mapping.values()
    if isinstance(value, BaseModel):
        return (part for _, part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return (getattr(value, field.name, None) for field in fields(value))
    return cast("Iterable[object]", value) if isinstance(value, list | tuple | set | frozenset) else ()
