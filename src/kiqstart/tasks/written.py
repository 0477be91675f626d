"""Writing a call's message, and refusing arguments that JSON would change without a word."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final, ParamSpec, TypeVar, cast

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from taskiq import BrokerMessage

from kiqstart.tasks.colliding_keys import WITHOUT_PARTS, refuse_colliding_keys
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.formatting import Outgoing, UnsendableLabelError, to_json
from kiqstart.tasks.task_ids import InvalidTaskIdError

# What a message holds if a number or a secret was lost in it: cheap to look for, and few messages have one.
_NULL, _NAN, _INFINITY = b"null", b"NaN", b"Infinity"
_TRACE_OF_SECRETS: Final = b"**********"


_SECRETS: Final[tuple[type, ...]] = (SecretStr, SecretBytes, Secret)
_Written = TypeVar("_Written", bound=Outgoing | BrokerMessage)
Writing = ParamSpec("Writing")


def written(
    task_name: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    write: Callable[Writing, _Written],
    *parts: Writing.args,
    **options: Writing.kwargs,
) -> _Written:
    """Return what `write` makes of a call, and of what it is to be given.

    Raises:
        InvalidTaskArgumentsError: an argument or a label is not JSON, or holds a secret, NaN or an infinite number,
            which JSON does not have, or a dict whose keys are not all different there, or an iterator.
        InvalidTaskIdError: its id is no UTF-8.
    """
    try:
        made = write(*parts, **options)
        compound = [value for value in (*args, *kwargs.values()) if type(value) not in WITHOUT_PARTS]
        if not compound:
            return made
        for value in compound:
            # The kicker has made a dict of it already.
            if isinstance(value, BaseModel):
                refuse_colliding_keys(value, may_be_read_once=False)
    except (InvalidTaskArgumentsError, InvalidTaskIdError):
        raise
    except UnsendableLabelError as error:
        raise InvalidTaskArgumentsError(task_name, str(error)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTaskArgumentsError(task_name, _refusal(args, kwargs, error)) from None
    if lost := lost_argument(args, kwargs, made.message):
        raise InvalidTaskArgumentsError(task_name, lost)
    return made


def lost_argument(args: Sequence[object], kwargs: Mapping[str, object], data: bytes) -> str | None:
    """Which argument, and what of it, is something else in its JSON: a secret, or a number; None if there is none."""
    numbers, secrets = _NULL in data or _NAN in data or _INFINITY in data, _TRACE_OF_SECRETS in data
    if numbers or secrets:
        for name, value in _named(args, kwargs):
            for lost in _lost(value, numbers=numbers, secrets=secrets):
                return f"argument {name}: {lost} cannot be sent as JSON"
    return None


def lost_secret(value: object, data: bytes) -> str | None:
    """The kind of a secret in a value whose JSON has asterisks in its place; None if there is none."""
    if _TRACE_OF_SECRETS not in data:
        return None
    return next(_lost(value, numbers=False, secrets=True), None)


def _named(args: Sequence[object], kwargs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from ((f"number {place}", value) for place, value in enumerate(args, 1))
    yield from kwargs.items()


def _refusal(args: Sequence[object], kwargs: Mapping[str, object], error: Exception) -> str:
    for name, value in _named(args, kwargs):
        try:
            to_json(value)
            refuse_colliding_keys(value, may_be_read_once=False)
        except (ValueError, RecursionError) as refused:
            return f"argument {name} cannot be sent as JSON: {_reason(refused)}"
    return f"its arguments cannot be sent as JSON: {_reason(error)}"


def _reason(error: Exception) -> str:
    first = str(error).partition("\n")[0] or type(error).__name__
    return first.removeprefix("Error serializing to JSON: ").removeprefix("PydanticSerializationError: ")


def _lost(value: object, *, numbers: bool, secrets: bool) -> Iterator[str]:
    """What of a value JSON does not have; whatever a model's rules for numbers are, not every formatter asks them."""
    if value is None or isinstance(value, str | bytes | int):
        return
    if isinstance(value, float):
        if numbers and not math.isfinite(value):
            yield str(value)
    elif issubclass(type(value), _SECRETS):
        if secrets:
            yield f"{type(value).__name__}, which is written as asterisks,"
    else:
        for inner in _inside(value):
            yield from _lost(inner, numbers=numbers, secrets=secrets)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, BaseModel):
        return (inner for _, inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        return (getattr(value, field.name, None) for field in fields(value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return (*pairs, *pairs.values())
    if isinstance(value, list | tuple | set | frozenset):
        return cast("Iterable[object]", value)
    return ()
