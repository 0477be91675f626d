"""Texts that a block of runs has to hold if one of its runs is to fit: most blocks hold none, and need not be read."""

import re
from dataclasses import dataclass
from typing import Final, cast

from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_record import LETTERS
from kiqstart.broker.run_text import searchable

# What is shown as it is written: JSON has quotes and backslashes in several ways, and what stands between two values
# is not written as it is shown.
_PHRASE: Final = re.compile(r"""[!#-+\--.0-9;<>-Z^-z|~][ !#-+\--.0-9;<>-Z^-z|~]*""")
# A number with an exponent, or its end, is not either: 1e5 is shown as 100000.0.
_EXPONENT: Final = re.compile(r"[0-9.+-]*e[0-9.+-]*|[+-]?0[0-9]{0,2}|[.+ -]+", re.IGNORECASE)
# Between these, no writer of JSON gives a number one.
_LAST_WITHOUT_EXPONENT: Final = 0.001
_FIRST_WITH_EXPONENT: Final = 10**15


@dataclass(frozen=True, kw_only=True)
class Needles:
    """What a block has to hold.

    Args:
        exact: as it is.
        values: of arguments, as they are; like the following, where runs are shown as they are written.
        phrases: in small letters, in capitals or not.
        choices: one at least of each, in a text that is `searchable`: an argument beside its name or in its place.
    """

    exact: tuple[bytes, ...] = ()
    values: tuple[bytes, ...] = ()
    phrases: tuple[bytes, ...] = ()
    choices: tuple[tuple[bytes, ...], ...] = ()

    @classmethod
    def of(cls, which: RunFilter, *, are_readable: bool) -> "Needles":
        """Those of a filter; text and arguments have some only where runs are shown as they are written."""
        names = [_quoted(name) for name in (which.task_id, which.task)]
        queue = _plain(which.queue)
        first = [None if which.outcome is None else f"1{LETTERS[which.outcome]} ", queue and f" {queue} "]
        found = [phrase.rstrip() for phrase in _PHRASE.findall(which.text or "")] if are_readable else []
        arguments = which.arguments.items() if are_readable else ()
        return cls(
            exact=tuple(one.encode() for one in (*names, *first) if one is not None),
            values=tuple(one.encode() for _, value in arguments for one in _texts(value)),
            phrases=tuple(one.lower().encode() for one in found if not _EXPONENT.fullmatch(one)),
            choices=tuple(choice for name, value in arguments for choice in _choices(name, value)),
        )

    @property
    def in_searchable(self) -> tuple[tuple[bytes, ...], ...]:
        """One at least of each has to be in what is `searchable` of a block."""
        return (*((searchable(one),) for one in (*self.exact, *self.phrases)), *self.choices)

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


def _choices(name: str, value: object) -> list[tuple[bytes, ...]]:
    """Of an argument, what is found in few other texts."""
    texts = _texts(value)
    if isinstance(value, str | list | dict):
        return [(searchable(one.encode()),) for one in texts]
    if not (texts and _plain(name)):
        return []
    forms = (f'"{name}":{texts[0]}', f'"args":[{texts[0]}', f",{texts[0]}")
    return [tuple(searchable(one.encode()) for one in forms)]


def _texts(value: object) -> list[str]:
    """What JSON has of a value, or of its parts, as far as it has them in one way only."""
    if isinstance(value, list):
        return [text for one in cast("list[object]", value) if isinstance(one, str) for text in _texts(one)]
    if isinstance(value, dict):
        return [text for name in cast("dict[str, object]", value) for text in _texts(name)]
    if isinstance(value, str):
        text = _quoted(value)
        return [] if text is None else [text]
    if value is None or isinstance(value, bool):
        return [{None: "null", True: "true", False: "false"}[value]]
    return _number(value) if isinstance(value, int | float) else []


def _number(value: float) -> list[str]:
    if not abs(value) < _FIRST_WITH_EXPONENT:
        return []
    if value == int(value):
        return [str(int(value))]
    return [repr(value)] if abs(value) >= _LAST_WITHOUT_EXPONENT else []
