"""Values of which JSON would lose a part without a word: `{1: 2, "1": 3}` has one key there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final, cast

import orjson
import pydantic_core
from pydantic import BaseModel

# It takes no keys but text, which cannot collide, and says so at the speed of C.
_ALL_KEYS_ARE_TEXT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_SCALARS: Final = (str, bytes, int, float, type(None))
# Not those of classes that inherit from them, which may have rules of their own.
WITHOUT_PARTS: Final = frozenset({str, int, bool, type(None)})


class CollidingKeysError(ValueError):
    """Two keys of a dict are one in JSON; the text names them."""


class ReadOnceError(ValueError):
    """An argument is, or holds, what can be read only once; the text names its class."""


def refuse_colliding_keys(value: object, *, may_be_read_once: bool = True) -> None:
    """Let pass what keeps all of its parts in JSON.

    Args:
        value: may be anything.
        may_be_read_once: whether an iterator may be in it.

    Raises:
        CollidingKeysError: a dict in it does not.
        ReadOnceError: an iterator is in it, and may not be.
    """
    try:
        orjson.dumps(value, option=_ALL_KEYS_ARE_TEXT)
    except TypeError:
        _look_through(value, may_be_read_once=may_be_read_once)


def refuse_colliding_arguments(args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Let pass a call whose arguments keep all of their parts in JSON; most have no parts.

    Raises:
        CollidingKeysError: a dict in one of them does not.
        ReadOnceError: an iterator, such as a generator or an open file: whoever looks at the arguments before they are
            written, to check them or to make a unique key, leaves nothing of it.
    """
    for value in (*args, *kwargs.values()):
        if type(value) not in WITHOUT_PARTS:
            refuse_colliding_keys(value, may_be_read_once=False)


def _look_through(value: object, *, may_be_read_once: bool) -> None:
    # By their ids, and kept, so that nothing else takes one of these.
    waiting, seen = [value], dict[int, object]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, _SCALARS) or id(one) in seen:
            continue
        if not may_be_read_once and issubclass(type(one), Iterator):
            raise ReadOnceError(f"{type(one).__name__} can be read only once: pass a list")
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
