"""Schedules in this process, for the in-memory broker: they end with it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from redis.exceptions import ResponseError
from taskiq import BrokerMessage

from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.due import DueMark, DuePage, Poll
from kiqstart.scheduler.firing import FireRequest, FireResult, FireScript, Outcome
from kiqstart.scheduler.store import (
    SECONDS_AHEAD,
    SET_BACK_MS,
    EarlierDue,
    Entry,
    Heartbeats,
    LastStep,
    StoredSchedule,
    Summary,
)


@dataclass(kw_only=True)
class _Kept:
    schedule: StoredSchedule
    is_of_table: bool


class MemoryScheduleStore:
    """Keeps schedules for one scheduler.

    Args:
        send: sends a message.
        clock: gives the time in milliseconds since the Unix epoch; None: the machine's.
    """

    def __init__(
        self, send: Callable[[BrokerMessage], Awaitable[None]], *, clock: Callable[[], int] | None = None
    ) -> None:
        self._send = send
        self._clock = clock or _machine_time_ms
        self._kept: dict[str, _Kept] = {}
        self._seen_ms: dict[str, int] = {}
        self._table: str | None = None
        self._number = 0
        self._polled_ms = 0

    async def now_ms(self) -> int:
        """The machine's time."""
        return self._clock()

    async def poll(self, scheduler: str, limit: int) -> Poll:
        """All there is."""
        now = self._clock()
        self._seen_ms[scheduler] = now
        self._polled_ms = max(now, self._polled_ms)
        times = [one.schedule.due_ms for one in self._kept.values() if one.schedule.due_ms is not None]
        return Poll(
            now_ms=now,
            page=await self.page(now, 0, limit),
            next_due_ms=min((time for time in times if time > now), default=None),
            schedulers=list(self._seen_ms),
            table=self._table,
            table_number=self._number,
            is_set_back=self._polled_ms - now > SET_BACK_MS,
        )

    async def page(self, now_ms: int, start: int, limit: int) -> DuePage:
        """All there is."""
        latest = now_ms + SECONDS_AHEAD * 1000
        times = [(one.schedule.due_ms, name) for name, one in self._kept.items() if one.schedule.due_ms is not None]
        due = [DueMark(name=name, due_ms=time) for time, name in sorted(times) if time <= latest]
        return DuePage(marks=due[start : start + limit], is_last=len(due) <= start + limit)

    async def definitions(self, names: Sequence[str]) -> list[bytes | int | None]:
        """All of them."""
        return [self._kept[name].schedule.data if name in self._kept else None for name in names]

    async def leave(self, scheduler: str) -> None:
        """Forget it."""
        self._seen_ms.pop(scheduler, None)

    async def fire(self, script: FireScript) -> list[FireResult]:
        """One after another."""
        return [await self._fire(firing) for firing in script.firings]

    async def answers(self, script: FireScript) -> None:  # noqa: ARG002  # the protocol's
        """No answer is lost on the way to a dictionary."""
        return

    async def set_table(
        self,
        table: str,
        entries: Sequence[Entry],
        *,
        instead_of: str = "",
        after_number: int = 0,
    ) -> None:
        """Keep what is unchanged, and nothing else of an earlier table."""
        if instead_of not in ("", self._table):
            return
        for entry in entries:
            known = self._kept.get(entry.name)
            if known is None:
                self._kept[entry.name] = _Kept(schedule=_new(entry), is_of_table=True)
            elif known.schedule.data != entry.data:
                self._kept[entry.name] = _Kept(schedule=_changed(known.schedule, entry), is_of_table=True)
        names = {entry.name for entry in entries}
        self._kept = {name: one for name, one in self._kept.items() if name in names or not one.is_of_table}
        if self._table != table or self._number < after_number:
            self._number = max(self._clock(), self._number + 1, after_number + 1)
        self._table = table

    async def add(self, entries: Sequence[Entry], *, script: str) -> list[bool | ResponseError]:  # noqa: ARG002  # the protocol's
        """Keep what the table has no name for."""
        table = {name for name, one in self._kept.items() if one.is_of_table}
        for one in entries:
            if one.name not in table:
                known = self._kept.get(one.name)
                schedule = _new(one) if known is None else _added(known.schedule, one)
                self._kept[one.name] = _Kept(schedule=schedule, is_of_table=False)
        return [entry.name not in table for entry in entries]

    async def remove(self, name: str) -> bool | None:
        """Forget it."""
        known = self._kept.get(name)
        if known is not None and known.is_of_table:
            return None
        return self._kept.pop(name, None) is not None

    async def pause(self, name: str) -> bool:
        """Take its time away."""
        return self._change(name, due_ms=None, is_paused=True)

    async def resume(self, name: str, due_ms: int, data: bytes) -> bool:
        """Give it a time."""
        known = self._kept.get(name)
        if known is None or known.schedule.data != data:
            return False
        return not known.schedule.is_paused or self._change(name, due_ms=due_ms, is_paused=False)

    async def set_aside(self, mark: DueMark, sha1: str) -> bool:  # noqa: ARG002  # nothing changes meanwhile
        """Forget it."""
        self._kept.pop(mark.name, None)
        return True

    async def reschedule_earlier(self, earlier: Sequence[EarlierDue]) -> None:
        """Give them their new times."""
        for one in earlier:
            known = self._kept.get(one.name)
            if known is not None and known.schedule.due_ms == one.was_due_ms:
                self._change(one.name, due_ms=one.due_ms)

    async def accept_clock(self) -> None:
        """From now on the latest poll is one of now."""
        self._polled_ms = self._clock()

    async def get(self, name: str) -> StoredSchedule | None:
        """Look it up."""
        known = self._kept.get(name)
        return None if known is None else known.schedule

    async def all(self) -> AsyncIterator[StoredSchedule]:
        """One by one."""
        for one in list(self._kept.values()):
            yield one.schedule

    async def summary(self, limit: int) -> Summary:
        """Of all there are."""
        kept = sorted(self._kept.values(), key=lambda one: (one.schedule.due_ms or 0, one.schedule.name))
        times = [one.schedule.due_ms for one in kept if one.schedule.due_ms is not None]
        table = [one.schedule for one in kept if one.is_of_table]
        return Summary(
            now_ms=self._clock(),
            table=sorted(table, key=lambda one: one.name),
            added=[one.schedule for one in kept if not one.is_of_table][:limit],
            active=len(times),
            paused=sum(one.schedule.is_paused for one in kept),
            set_aside=[],
            first_due_ms=min(times, default=None),
        )

    async def heartbeats(self) -> Heartbeats:
        """Those that were seen."""
        return Heartbeats(now_ms=self._clock(), seen_ms=dict(self._seen_ms))

    async def _fire(self, firing: FireRequest) -> FireResult:
        name = firing.due.name
        known = self._kept.get(name)
        if known is None or known.schedule.data != firing.due.data or known.schedule.due_ms != firing.expected_ms:
            return FireResult(outcome=Outcome.LOST)
        if firing.expected_ms > self._clock():
            return FireResult(outcome=Outcome.LOST)
        outcome, task_id = firing.outcome, ""
        if firing.message is not None:
            try:
                await self._send(firing.message)
            except Exception as error:  # noqa: BLE001  # whatever a broker raises
                return FireResult(outcome=Outcome.REFUSED, detail=f"{type(error).__name__}: {error}")
            outcome, task_id = Outcome.SENT, firing.message.task_id
        if firing.following_ms is None:
            del self._kept[name]
        else:
            about = firing.send_ms or firing.expected_ms
            last = LastStep(due_ms=about, done_ms=self._clock(), task_id=task_id, outcome=outcome)
            known.schedule = replace(known.schedule, due_ms=firing.following_ms, last=last)
        return FireResult(outcome=outcome)

    def _change(self, name: str, **changes: object) -> bool:
        known = self._kept.get(name)
        if known is not None:
            known.schedule = replace(known.schedule, **changes)  # type: ignore[arg-type]  # of the fields' types
        return known is not None


def _new(entry: Entry) -> StoredSchedule:
    return StoredSchedule(name=entry.name, data=entry.data, due_ms=entry.due_ms, is_paused=False, last=None)


def _added(kept: StoredSchedule, entry: Entry) -> StoredSchedule:
    due = kept.due_ms if kept.is_paused or entry.stays else entry.due_ms
    return replace(kept, data=entry.data, due_ms=due)


def _changed(kept: StoredSchedule, entry: Entry) -> StoredSchedule:
    has_same_times = ScheduleDefinition.load(kept.data).timing == ScheduleDefinition.load(entry.data).timing
    due = kept.due_ms if kept.is_paused or has_same_times else entry.due_ms
    return replace(kept, data=entry.data, due_ms=due)


def _machine_time_ms() -> int:
    return time.time_ns() // 1_000_000
