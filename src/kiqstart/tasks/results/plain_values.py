"""Cuts values down to what JSON can hold within a bound."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeGuard, TypeVar, cast

from kiqstart.observability.redaction import STAND_IN, is_secret_name, redact_beginning

Kind = TypeVar("Kind")
# What JSON can hold.
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

# Of one text, in bytes of UTF-8.
MAX_TEXT: Final = 8 * 1024
_SCALAR: Final = 20
_PAIR: Final = 2
_MAX_DEPTH: Final = 5
_MAX_VALUES: Final = 200
_MAX_BITS: Final = 4096
_LEFT_OUT: Final = "…"
_SEQUENCES: Final = (list, tuple, set, frozenset, deque)


def clip(text: str, limit: int) -> str:
    """A text of at most `limit` bytes of UTF-8, and a few that say that it was cut; lone surrogates are escaped."""
    return _cut(str.__str__(text), limit, of=0)


def shown_text(text: str, limit: int) -> str:
    """The same without secrets, of up to `MAX_TEXT` bytes. What is cut off needs no look, however much it is."""
    text = str.__str__(text)
    return _cut(redact_beginning(text, MAX_TEXT), limit, of=len(text) if len(text) > 2 * MAX_TEXT else 0)


def _cut(text: str, limit: int, *, of: int) -> str:
    data = text[:limit].encode("utf-8", "backslashreplace")
    length = max(len(text), of)
    if length <= limit and len(data) <= limit:
        return data.decode()
    kept = data[:limit].decode("utf-8", "ignore")
    return f"{kept}{_LEFT_OUT} ({length} characters in all)"


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """The members of an exception group; none of any other error."""
    if not is_a(error, BaseExceptionGroup):
        return ()
    return cast("tuple[BaseException, ...]", BaseExceptionGroup.__dict__["exceptions"].__get__(error))


def is_small(values: Iterable[object]) -> bool:
    """Whether values have few parts, if each is counted as often as it is referred to."""
    waiting, count = list(islice(values, _MAX_VALUES + 1)), 0
    while waiting:
        count += 1
        if count > _MAX_VALUES:
            return False
        waiting.extend(islice(_parts(waiting.pop()), _MAX_VALUES))
    return True


def is_a(value: object, *kinds: type[Kind]) -> TypeGuard[Kind]:
    """`isinstance`, but for what an object says of its class itself: a proxy without a target raises then."""
    return issubclass(type(value), kinds)


def class_name(cls: type, attribute: str = "__name__") -> str:
    """The name of a class, also where its metaclass has another word for it."""
    return str.__str__(type.__dict__[attribute].__get__(cls))


def _parts(value: object) -> Iterable[object]:
    if is_a(value, BaseException):
        return (*BaseException.__dict__["args"].__get__(value), *members_of(value))
    if is_a(value, dict):
        return (part for pair in cast("dict[object, object]", value).items() for part in pair)
    return cast("Iterable[object]", value) if is_a(value, *_SEQUENCES) else ()


class Budget:
    """How much may still be written.

    Args:
        left: bytes of UTF-8.
        parent: the budget of which this is a part.
    """

    def __init__(self, left: int, parent: "Budget | None" = None) -> None:
        self.left = left
        self._values = _MAX_VALUES
        self._parent = parent

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0 or self._values <= 0

    def part(self, limit: int) -> "Budget":
        """At most `limit` bytes of this budget, and as many values as any has."""
        return Budget(min(limit, max(self.left, 0)), self)

    def spend(self, count: int) -> None:
        """Take note that so many bytes were written."""
        self.left -= count
        if self._parent is not None:
            self._parent.spend(count)

    def plain(self, value: object) -> Plain:
        """A value as JSON can hold it, with the `repr` of parts that it cannot hold."""
        try:
            return self._plain(value, 0)
        except BaseException:  # noqa: BLE001  # code of the value's own class, whatever it raises
            return f"<{class_name(type(value))}>"

    def text(self, text: str) -> str:
        """A text within what is left."""
        text = str.__str__(text)
        clipped = shown_text(text, min(max(self.left, 0), MAX_TEXT))
        self.spend(len(clipped.encode()))
        return clipped

    def _plain(self, value: object, depth: int) -> Plain:
        self._values -= 1
        if self.is_spent or depth > _MAX_DEPTH:
            return _LEFT_OUT
        if is_a(value, dict):
            pairs = islice(cast("dict[object, object]", value).items(), self._values)
            return {self._key(key): self._beside(key, item, depth + 1) for key, item in pairs}
        if is_a(value, *_SEQUENCES):
            items = list(islice(cast("Iterable[object]", value), self._values))
            if len(items) == _PAIR:
                return [self._plain(items[0], depth + 1), self._beside(items[0], items[1], depth + 1)]
            return [self._plain(item, depth + 1) for item in items]
        return self._scalar(value)

    def _beside(self, name: object, value: object, depth: int) -> Plain:
        """A value; nothing of it if what stands before it says that it is a secret."""
        is_hidden = value is not None and is_a(name, str) and is_secret_name(str.__str__(name))
        return self.text(STAND_IN) if is_hidden else self._plain(value, depth)

    def _scalar(self, value: object) -> Plain:
        if value is None or value is True or value is False:
            self.spend(_SCALAR)
            return value
        if is_a(value, str):
            return self.text(str.__str__(value))
        if is_a(value, float):
            self.spend(_SCALAR)
            return float.__pos__(value)
        if is_a(value, int):
            return self._number(value)
        return self._repr(value)

    def _number(self, value: int) -> Plain:
        bits = int.bit_length(value)
        self.spend(bits // 3 + 1)
        return int.__pos__(value) if bits <= _MAX_BITS else f"<int of {bits} bits>"

    def _key(self, key: object) -> str:
        return self.text(str.__str__(key)) if is_a(key, str) else self._repr(key)

    def _repr(self, value: object) -> str:
        # An error writes out what it refers to, each as often as it does.
        return self.text(repr(value) if is_small((value,)) else f"<{class_name(type(value))}>")
