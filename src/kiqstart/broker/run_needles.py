"""Texts that a block of runs has to hold if one of its runs is to fit: most blocks hold none, and need not be read."""

import re
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_record import LETTERS

# What is shown as it is written: JSON has quotes and backslashes in several ways, and what stands between two values
# is not written as it is shown.
_PHRASE: Final = re.compile(r"""[!#-+\--.0-9;<>-Z^-z|~][ !#-+\--.0-9;<>-Z^-z|~]*""")
# A number with an exponent, or its end, is not either: 1e5 is shown as 100000.0.
_EXPONENT: Final = re.compile(r"[0-9.+-]*e[0-9.+-]*|[+-]?0[0-9]{0,2}|[.+ -]+", re.IGNORECASE)
# From here on a number may be written with one.
_FIRST_WITH_EXPONENT: Final = 10**15


@dataclass(frozen=True, kw_only=True)
class Needles:
    """What a block has to hold.

    Args:
        exact: as it is.
        values: as they are, where arguments can be read as they are written.
        phrases: in small letters, in capitals or not.
    """

    exact: tuple[bytes, ...] = ()
    values: tuple[bytes, ...] = ()
    phrases: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, which: RunFilter, *, are_readable: bool) -> "Needles":
        """Those of a filter; text and arguments have some only where runs are shown as they are written."""
        names = [_quoted(name) for name in (which.task_id, which.task)]
        queue = _plain(which.queue)
        first = [None if which.outcome is None else f"1{LETTERS[which.outcome]} ", queue and f" {queue} "]
        found = [phrase.rstrip() for phrase in _PHRASE.findall(which.text or "")] if are_readable else []
        values = [_value(value) for value in which.arguments.values()] if are_readable else []
        return cls(
            exact=tuple(one.encode() for one in (*names, *first) if one is not None),
            values=tuple(one.encode() for one in values if one is not None),
            phrases=tuple(one.lower().encode() for one in found if not _EXPONENT.fullmatch(one)),
        )

    @property
    def in_small_letters(self) -> tuple[bytes, ...]:
        """What a block's text in small letters has to hold."""
        return (*(one.lower() for one in (*self.exact, *self.values)), *self.phrases)

    def are_in(self, block: bytes) -> bool:
        """Whether a block holds all of them."""
        if not all(needle in block for needle in (*self.exact, *self.values)):
            return False
        small = block.lower() if self.phrases else b""
        return all(phrase in small for phrase in self.phrases)


def _plain(name: str | None) -> str | None:
    return name if name and plain_in_json(name) else None


def _quoted(name: str | None) -> str | None:
    """A name as a message has it."""
    return f'"{name}"' if _plain(name) else None


def _value(value: object) -> str | None:
    """A value of an argument as JSON has it; None where that may write it in several ways."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float) and abs(value) < _FIRST_WITH_EXPONENT and value == int(value):
        return str(int(value))
    return None
