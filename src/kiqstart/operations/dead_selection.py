"""Which dead letters a command is about."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kiqstart.broker.dead_letter import DeadLetter
from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.errors import OperatorError

_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


class Letters(Protocol):
    """Where dead letters are read: in Redis, or in an index of them."""

    def walk(
        self, *, reason: str | None = None, task_name: str | None = None, older_than: float | None = None
    ) -> AsyncGenerator[DeadLetter]:
        """Letters that fit, newest first."""
        ...


class SelectionError(OperatorError):
    """It is not clear which dead letters are meant."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What narrows all letters.

    Args:
        older_than: an age such as `7d`.
    """

    task: str | None = None
    reason: str | None = None
    older_than: str | None = None

    @property
    def are_given(self) -> bool:
        """Whether there is one."""
        return (self.task, self.reason, self.older_than) != (None, None, None)

    @property
    def described(self) -> str:
        """Which letters: `all dead letters of 'ping' with the reason malformed, older than 7d`."""
        words = "all dead letters"
        if self.task is not None:
            words += f" of {self.task!r}"
        if self.reason is not None:
            words += f" with the reason {self.reason}"
        return words if self.older_than is None else f"{words}, older than {self.older_than}"

    async def ids(self, dead: Letters) -> list[str]:
        """The letters that are meant, oldest first."""
        return [one.id async for one in self.letters(dead)][::-1]

    def letters(self, dead: Letters) -> AsyncGenerator[DeadLetter]:
        """The letters that are meant, newest first."""
        age = None if self.older_than is None else parse_age(self.older_than)
        return dead.walk(task_name=self.task, reason=self.reason, older_than=age)


def check_selection(letters: Sequence[str], filters: Filters, *, every: bool) -> None:
    """Check that either ids are given, or --all or what narrows it, each of which makes sense.

    Raises:
        SelectionError: it is not so.
    """
    if bool(letters) == (every or filters.are_given):
        raise SelectionError(
            "name dead letters by their ids, or choose them with --task, --reason and --older-than, or take --all"
        )
    check_reason(filters.reason)
    if filters.older_than is not None:
        parse_age(filters.older_than)


def check_reason(reason: str | None) -> None:
    """Check that there is such a reason.

    Raises:
        SelectionError: there is not.
    """
    if reason is not None and reason not in list(DeadLetterReason):
        raise SelectionError(f"--reason {reason!r:.100} is none of {', '.join(DeadLetterReason)}")


def parse_age(text: str, option: str = "--older-than") -> int:
    """Seconds of an age such as `7d`, as an option has it.

    Raises:
        SelectionError: it is none.
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise SelectionError(f"{option} {text!r:.100} is no age: write 90s, 30m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]
