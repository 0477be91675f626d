"""Refuses what a caller without a type checker hands in by mistake, in one line that says what is wanted."""

import math
from typing import Final, SupportsFloat

_LONGEST: Final = 60


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


def shown(value: object) -> str:
    """A value as a caller would write it, cut where it is long."""
    try:
        written = ascii(value)
    except Exception:  # noqa: BLE001  # code of the value's own class
        return f"a {type(value).__name__}"
    return written if len(written) <= _LONGEST else f"{written[:_LONGEST]}…"
