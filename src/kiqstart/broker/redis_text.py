"""Names and numbers as Redis has them: bytes, into which whoever writes there may have put anything."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from kiqstart.tasks.queue_names import queue_name_problem
from kiqstart.tasks.sizes import LARGEST_BYTES

_MOST_DIGITS: Final = 19
# `\xff` is the longest that Python makes of a byte.
_BYTES_OF_AN_ESCAPE: Final = 4
# What can be shown in any time zone: about the year 9990.
_LAST_MS: Final = 253_000_000_000_000


def text_of_name(name: bytes) -> str:
    """A name as text; `raw_name` gives it back, whatever its bytes are."""
    return name.decode(errors="surrogateescape")


def raw_name(name: str) -> bytes:
    """A name as Redis has it."""
    try:
        return name.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return name.encode(errors="surrogatepass")


def texts_of(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Fields as text; `raw_name` gives each back."""
    return {text_of_name(name): text_of_name(value) for name, value in fields.items()}


def queue_names(found: Iterable[bytes]) -> list[str]:
    """The names of queues among those that Redis has; what can be none is left out."""
    names = [text_of_name(name) for name in found]
    return [name for name in names if queue_name_problem(name) is None]


def whole_number(text: str | None, default: int) -> int:
    """A number that a worker, or Redis, has counted; the default for what is none.

    Redis counts up to 19 digits, and Python reads no text of thousands.
    """
    if text is None or len(text) > _MOST_DIGITS or not (text.isascii() and text.isdecimal()):
        return default
    return int(text)


def time_of(milliseconds: int) -> datetime | None:
    """A time of Redis' clock; None where Python has no such time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds < _LAST_MS else None


def bounded_time(milliseconds: float) -> datetime:
    """A time that whoever writes to Redis has named: the last that there is where it is later."""
    return datetime.fromtimestamp(min(max(milliseconds, 0), _LAST_MS) / 1000, UTC)


def beat_of(score: bytes) -> int:
    """A worker's beat, as Redis gives it."""
    return int(float(score))


def shown_fields(raw: Mapping[bytes, bytes]) -> bytes:
    """The fields of an entry that is no message, or the first of them."""
    shown: dict[bytes, bytes] = {}
    size = 0
    for name, value in raw.items():
        size += len(name) + len(value)
        if size > LARGEST_BYTES // _BYTES_OF_AN_ESCAPE:
            break
        shown[name] = value
    return repr(shown).encode()


def plain_in_json(text: str) -> bytes | None:
    """A text as it stands within JSON; None where that may have it in several ways."""
    is_plain = text.isascii() and text.isprintable() and not {'"', "\\", "/"} & set(text)
    return text.encode() if is_plain else None
