"""Where schedules are kept, and the steps that change them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from redis.exceptions import ResponseError

from kiqstart.scheduler.due import DueMark, DuePage, Poll
from kiqstart.scheduler.firing import FireResult, FireScript
from kiqstart.scheduler.firing import Outcome as Outcome  # noqa: PLC0414  # of a `LastStep`

SECONDS_AHEAD: Final = 1.0
"""What is due so soon is looked at with what is due, so that its message can be made before its time."""
# A scheduler polls at least once in two seconds. One that has not for so long is nobody's first choice any more.
SECONDS_UNTIL_GONE: Final = 5.0
# Redis' clock may be set back: a poll that is later than now says nothing.
_CLOCK_MARGIN: Final = 1.0
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a definition, or of a message. Reading, or sending, what is larger would hold up all others."""
SET_BACK_MS: Final = 60_000
"""By more than that a clock that is set back lets times be repeated; what is less is waited for."""


@dataclass(frozen=True, kw_only=True)
class LastStep:
    """What a schedule did last; times are in milliseconds since the Unix epoch.

    Args:
        due_ms: the time it was about.
        done_ms: when the step was taken.
        detail: the id of the task that held the key, where it was held.
    """

    due_ms: int
    done_ms: int
    task_id: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredSchedule:
    """A schedule with its state.

    Args:
        data: its definition.
        due_ms: when it is due; None: it is paused, or has no time any more.
    """

    name: str
    data: bytes
    due_ms: int | None
    is_paused: bool
    last: LastStep | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A schedule to be kept: its definition, and when it is due if it is new or has changed.

    Args:
        stays: of one that is added: whether its times are those of what is kept, so that it stays due when it is.
    """

    name: str
    data: bytes
    due_ms: int | None
    stays: bool = False


@dataclass(frozen=True, kw_only=True)
class EarlierDue:
    """A schedule that was due at one time and is to be due at an earlier one, in milliseconds since the Unix epoch."""

    name: str
    was_due_ms: int
    due_ms: int


@dataclass(frozen=True, kw_only=True)
class Heartbeats:
    """When each scheduler last polled, by the store's clock, in milliseconds since the Unix epoch."""

    now_ms: int
    seen_ms: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def seconds_since_any(self) -> float | None:
        """Seconds since any scheduler last polled; None: none is known."""
        return min(self._ages(), default=None)

    @property
    def living(self) -> int:
        """How many schedulers poll."""
        return sum(age <= SECONDS_UNTIL_GONE for age in self._ages())

    def _ages(self) -> list[float]:
        ages = ((self.now_ms - seen) / 1000 for seen in self.seen_ms.values())
        return [max(age, 0.0) for age in ages if age >= -_CLOCK_MARGIN]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Some schedules, and how many there are.

    Args:
        now_ms: the store's time, in milliseconds since the Unix epoch.
        table: the schedules of the table, by name.
        added: some of the others: the paused ones first, then those that are due soonest.
        active: how many schedules have a time.
        paused: how many are paused.
        set_aside: names of those that could not be read.
        first_due_ms: when the first of all is due; None: none has a time.
    """

    now_ms: int
    table: Sequence[StoredSchedule]
    added: Sequence[StoredSchedule]
    active: int
    paused: int
    set_aside: Sequence[str]
    first_due_ms: int | None


class ScheduleStore(Protocol):
    """Keeps schedules, and takes each step once, whoever asks."""

    async def now_ms(self) -> int:
        """The time that counts, in milliseconds since the Unix epoch."""
        ...

    async def poll(self, scheduler: str, limit: int) -> Poll:
        """Note that a scheduler lives, and see what is due or soon will be, at most `limit` schedules."""
        ...

    async def page(self, now_ms: int, start: int, limit: int) -> DuePage:
        """What is due or soon will be at `now_ms`, without the first `start` schedules."""
        ...

    async def definitions(self, names: Sequence[str]) -> list[bytes | int | None]:
        """Definitions of the first ones of some schedules, as many as can be read at once, at least one.

        None: there is none. A number: it has so many bytes, more than `LARGEST`.
        """
        ...

    async def leave(self, scheduler: str) -> None:
        """Forget a scheduler."""

    async def fire(self, script: FireScript) -> list[FireResult]:
        """Take steps, in order, each in one piece: nothing of it or all.

        A script that was answered before is answered in the same way, and does nothing.
        """
        ...

    async def answers(self, script: FireScript) -> list[FireResult] | None:
        """What a script was answered whose answer was lost; None: it did nothing, or nobody knows any more."""
        ...

    async def set_table(
        self, table: str, entries: Sequence[Entry], *, instead_of: str = "", after_number: int = 0
    ) -> None:
        """Put a table into effect: what is new or changed is due as its entry says, what it does not have is gone.

        Args:
            table: its fingerprint.
            entries: its schedules.
            instead_of: only where that one is in effect.
            after_number: the number of the last table that is known; this one's is higher.
        """

    async def add(self, entries: Sequence[Entry], *, script: str) -> list[bool | ResponseError]:
        """Add or change schedules that are in no table; one that is paused stays so.

        Args:
            entries: the schedules.
            script: a name of its own for each call; one that is repeated under its name does nothing where it was done.

        Returns:
            For each: True; False where the table has one of that name; or why the store has refused it.
        """
        ...

    async def remove(self, name: str) -> bool | None:
        """Remove a schedule; False where there is none, None where it is the table's."""
        ...

    async def pause(self, name: str) -> bool:
        """Let a schedule not be due until it is resumed; False where there is none."""
        ...

    async def resume(self, name: str, due_ms: int, data: bytes) -> bool:
        """Let a paused schedule be due again at a time; False where its definition is another one than `data`."""
        ...

    async def set_aside(self, mark: DueMark, sha1: str) -> bool | None:
        """Keep a schedule that nobody can read where nobody looks for what is due; one without definition is removed.

        Args:
            mark: where it was due.
            sha1: of its definition, or of b"" where that is too large; '': there is none.

        Returns:
            False where too many are kept there, None where it is due at another time or has another definition.
        """
        ...

    async def reschedule_earlier(self, earlier: Sequence[EarlierDue]) -> None:
        """Let schedules be due earlier than they are, where they are still due when they were."""

    async def accept_clock(self) -> None:
        """What a clock that was set back asks for is done: `is_set_back` no more."""

    async def get(self, name: str) -> StoredSchedule | None:
        """A schedule by its name."""
        ...

    async def summary(self, limit: int) -> Summary:
        """The schedules of the table, and at most `limit` others; the cost does not follow how many there are."""
        ...

    def all(self) -> AsyncIterator[StoredSchedule]:
        """All schedules, in no order."""
        ...

    async def heartbeats(self) -> Heartbeats:
        """Which schedulers live."""
        ...
