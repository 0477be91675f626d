"""Which dead letters a command is about."""

import re
from collections.abc import Sequence
from typing import Final

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.errors import OperatorError

_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


class SelectionError(OperatorError):
    """It is not clear which dead letters are meant."""


def check_selection(letters: Sequence[str], *, every: bool, filters: Sequence[str | None]) -> None:
    """Check that either ids are given or --all, and filters with the latter only.

    Raises:
        SelectionError: it is not so.
    """
    if bool(letters) == every:
        raise SelectionError("name dead letters by their ids, or all of them with --all")
    if letters and any(one is not None for one in filters):
        raise SelectionError("options that narrow --all do not go with ids")


def check_reason(reason: str | None) -> None:
    """Check that there is such a reason.

    Raises:
        SelectionError: there is not.
    """
    if reason is not None and reason not in list(DeadLetterReason):
        raise SelectionError(f"--reason {reason!r} is none of {', '.join(DeadLetterReason)}")


def parse_age(text: str) -> int:
    """Seconds of an age such as `7d`.

    Raises:
        SelectionError: it is none.
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise SelectionError(f"--older-than {text!r} is no age: write 90s, 30m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]
