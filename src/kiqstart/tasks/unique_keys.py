"""Unique keys as text: the same from a program's values as from their JSON, in every process."""

import re
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic_core import PydanticSerializationError

from kiqstart.tasks.arguments import TaskArguments
from kiqstart.tasks.canonical import canonical_text, in_utc
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError
from kiqstart.tasks.formatting import as_json

UNIQUE_TEMPLATE_LABEL: Final = "unique_template"
# A longer key is its beginning and a hash of the whole.
MAX_KEY_BYTES: Final = 512
_KEPT_CHARACTERS: Final = 128
# What a format such as {day:%Y-%m} may be applied to, with values that it has to work for.
_SAMPLES: Final[Mapping[object, Sequence[object]]] = {
    str: ("", "x"),
    int: (-1, 1),
    float: (-1.5, 2.0),
    Decimal: (Decimal(-1), Decimal("1.5")),
    date: (date(1970, 1, 1),),
    datetime: (datetime(1970, 1, 1, tzinfo=UTC),),
    time: (time(0),),
}
_WIDE: Final = re.compile(r"\d{4}")


class KeyTemplate:
    """A template such as `"report:{user_id}:{day:%Y-%m}"`, which makes keys of a task's arguments.

    An argument in braces stands for its value as the task gets it, in one form: a time zone's times in UTC, a whole
    float like an int, an Enum as its value, sets sorted, models and containers as JSON with sorted keys. A format may
    follow for text, numbers and times. Attributes and items of arguments cannot be named.

    Raises:
        UnsupportedTaskError: it names what is no argument, or has a format that does not fit the argument's type.
    """

    def __init__(self, template: str, arguments: TaskArguments) -> None:
        self._arguments = arguments
        try:
            self._parts = [*string.Formatter().parse(template)]
        except (TypeError, ValueError) as error:
            raise UnsupportedTaskError(str(error)) from None
        for _, name, spec, conversion in self._parts:
            if name is not None:
                self._check(name, spec or "", conversion)
        named = {name for _, name, _, _ in self._parts if name is not None}
        self._defaults = {name: self._default(name) for name in named}

    def key(self, task_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
        """The key of a call.

        Raises:
            InvalidTaskArgumentsError: the task does not take these arguments.
        """
        given = self._arguments.bind(task_name, args, kwargs).arguments
        values = {
            name: self._validated(task_name, name, given[name]) if name in given else default
            for name, default in self._defaults.items()
        }
        return bounded_key(
            "".join(
                text + ("" if name is None else _formatted(values[name], spec or ""))
                for text, name, spec, _ in self._parts
            )
        )

    def _check(self, name: str, spec: str, conversion: str | None) -> None:
        known = self._arguments.signature.parameters
        if name not in known:
            [first] = re.findall(r"^[^.\[]*", name)
            if first in known:
                raise UnsupportedTaskError(f"{{{name}}}: only whole arguments can be named, such as {{{first}}}")
            raise UnsupportedTaskError(f"the task takes no argument {name!r}")
        if self._arguments.adapters[name].core_schema["type"] == "generator":
            raise UnsupportedTaskError(f"{name} can be read only once: declare a list")
        if conversion:
            raise UnsupportedTaskError(f"{{{name}!{conversion}}}: write {{{name}}}")
        if spec:
            _check_spec(name, spec, self._arguments.hints[name])

    def _default(self, name: str) -> object:
        parameter = self._arguments.signature.parameters[name]
        empty: dict[object, object] = {parameter.VAR_POSITIONAL: (), parameter.VAR_KEYWORD: {}}
        default = empty.get(parameter.kind, parameter.default)
        if default is parameter.empty:
            return None
        try:
            return self._validated("", name, default)
        except InvalidTaskArgumentsError as error:
            if default is None:
                return None
            raise UnsupportedTaskError(f"the default of {name} cannot be part of a key: {error.problem}") from None

    def _validated(self, task_name: str, name: str, value: object) -> object:
        try:
            travelled = as_json(value)
        except PydanticSerializationError as error:
            raise InvalidTaskArgumentsError(task_name, f"argument {name}: {error}") from None
        return self._arguments.validate_one(task_name, name, travelled)


def _check_spec(name: str, spec: str, hint: Any) -> None:  # noqa: ANN401  # a type of any kind
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    samples = _SAMPLES.get(kind, ()) if isinstance(kind, type) else ()
    if not samples or "{" in spec or _WIDE.search(spec):
        known = "str, int, float, Decimal, date, datetime and time"
        raise UnsupportedTaskError(f"{{{name}:{spec}}}: formats are for {known}, up to a width of 999")
    for sample in samples:
        try:
            format(sample, spec)
        except (ValueError, OverflowError) as error:
            raise UnsupportedTaskError(f"{{{name}:{spec}}}: {error}") from None


def _formatted(value: object, spec: str) -> str:
    return format(in_utc(value) if isinstance(value, datetime) else value, spec) if spec else canonical_text(value)


def bounded_key(key: str) -> str:
    """A key that is not longer than `MAX_KEY_BYTES`: its beginning and a hash of the whole where it would be."""
    whole = key.encode(errors="surrogatepass")
    if len(whole) <= MAX_KEY_BYTES:
        return key
    return f"{key[:_KEPT_CHARACTERS]}:sha256:{sha256(whole).hexdigest()}"
