"""Refuses what a caller without a type checker hands in by mistake, in one line that says what is wanted."""

import math
from datetime import datetime, timedelta
from typing import Final, SupportsFloat

_LONGEST: Final = 60
# So that no sum of times leaves what a datetime can be.
LONGEST_INTERVAL: Final = timedelta(days=36525)
"""Between two runs of a schedule."""


def text(value: object, where: str, what: str) -> str:
    """A text, as it is.

    Args:
        value: what was handed in.
        where: the call, as a caller writes it.
        what: the text's meaning, with its article.

    Raises:
        TypeError: it is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{where}: {what} is text, not {shown(value)}")
    return value


def is_utf8(value: str) -> bool:
    """Whether it can be sent: no half of a character is in it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def number(value: object, where: str, what: str) -> float:
    """A number, NaN and the infinities included.

    Args:
        value: what was handed in.
        where: the call, as a caller writes it.
        what: what is counted.

    Raises:
        TypeError: it is no number.
    """
    if type(value) is float:
        return value
    if isinstance(value, bool | str | bytes) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{where} takes a number of {what}, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def moment(value: object, where: str) -> datetime:
    """A time that has a time zone.

    Args:
        value: what was handed in.
        where: the call, as a caller writes it.

    Raises:
        TypeError: it is no datetime.
        ValueError: it has no time zone.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{where} takes a datetime with a time zone, not {shown(value)}")
    check_time_zone(value)
    return value


def check_time_zone(time: datetime) -> None:
    """Refuse a time that says another moment in each time zone.

    Raises:
        ValueError: it has no time zone.
    """
    if time.utcoffset() is None:
        raise ValueError(f"{time} has no time zone: write datetime(…, tzinfo=UTC)")


def whole_seconds(value: object, where: str) -> int | timedelta:
    """A time between two runs: seconds, or a timedelta as it is.

    Args:
        value: what was handed in.
        where: the call, as a caller writes it.

    Raises:
        TypeError: it is neither.
        ValueError: it is no whole number of seconds, or out of its range.
    """
    span = value if isinstance(value, timedelta) else None
    seconds = number(value, where, "seconds, or a timedelta") if span is None else span.total_seconds()
    if not (1 <= seconds <= LONGEST_INTERVAL.total_seconds() and seconds.is_integer()):
        raise ValueError(f"{where}: write a whole number of seconds, from 1 to a hundred years, not {shown(value)}")
    return int(seconds) if span is None else span


def shown(value: object) -> str:
    """A value as a caller would write it, cut where it is long."""
    try:
        written = ascii(value)
    except Exception:  # noqa: BLE001  # code of the value's own class
        return f"a {type(value).__name__}"
    return written if len(written) <= _LONGEST else f"{written[:_LONGEST]}…"
