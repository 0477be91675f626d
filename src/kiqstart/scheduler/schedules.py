"""Schedules as those who ask for them see them: added, removed, paused, sent now, and looked at."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Self, TypeVar
from uuid import uuid4

from redis.exceptions import ResponseError
from taskiq import AsyncBroker, BrokerMessage, ScheduledTask

from kiqstart.broker.batcher import Batches, SimpleWork
from kiqstart.broker.operator_acts import Done, do
from kiqstart.broker.redis_retry import retry_transient
from kiqstart.redis.loop_local import LoopLocal
from kiqstart.scheduler.broker_limits import send_deadline
from kiqstart.scheduler.conversions import ScheduleError, as_taskiq, definition_of
from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.misfires import next_after
from kiqstart.scheduler.occurrence import (
    after_occurrence,
    from_ms,
    occurrence_message,
    occurrence_span,
    shown_time,
    to_ms,
)
from kiqstart.scheduler.sealed_definitions import dump_sealed, load_trusted
from kiqstart.scheduler.store import Entry, LastStep, ScheduleStore, StoredSchedule
from kiqstart.scheduler.triggers import DateTrigger, IntervalTrigger, Trigger
from kiqstart.tasks.caller_types import text
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.kicker import held_by
from kiqstart.tasks.labels import LONGEST_NAME

FireResult = TypeVar("FireResult")
_SHOWN: Final = 100


@dataclass(frozen=True, kw_only=True)
class ScheduleState:
    """A schedule with its state.

    Args:
        due: when it is due; None: it is paused, or has no time any more.
        last: what it did last; None: nothing yet.
    """

    definition: ScheduleDefinition
    due: datetime | None
    is_paused: bool
    last: LastStep | None

    @classmethod
    def read(cls, stored: StoredSchedule, broker: AsyncBroker) -> Self:
        """Read what the store keeps, as far as the broker's keys trust it: who reads it may send it.

        Raises:
            UnreadableScheduleError: its definition is none, or was not signed.
        """
        return cls(
            definition=load_trusted(stored.data, broker, name=stored.name),
            due=None if stored.due_ms is None else shown_time(stored.due_ms),
            is_paused=stored.is_paused,
            last=stored.last,
        )


class Schedules:
    """The schedules of a service, in the store of its broker."""

    def __init__(self, broker: AsyncBroker, store: ScheduleStore) -> None:
        self._broker = broker
        self._store = store
        self._adding: LoopLocal[Batches[ScheduledTask, None, Sequence[BaseException | None]]] = LoopLocal(
            lambda: Batches(SimpleWork(self._add_batch), lambda one: len(repr(one)))
        )

    async def add(self, schedule: ScheduledTask) -> None:
        """Add a schedule, or change the one that has its id.

        An interval is counted from now, or goes on where one of that id has the same. A paused one stays paused. A
        `cron_offset` is a time zone's name or a difference to UTC.

        Raises:
            ScheduleError: its times cannot be, its task is not known, or the service's table has that id.
            InvalidTaskArgumentsError: its task does not take these arguments.
            RedisError: Redis is away for longer than the broker's send deadline.
        """
        await self._adding.get().add(schedule)

    async def remove(self, name: str) -> None:
        """Remove a schedule that was added.

        Raises:
            ScheduleError: there is none, or it is the service's table that has it.
            UnansweredError: Redis does not answer any more; it may be removed.
            RedisError: Redis is away, and it stays.
        """
        _check_name(name)
        done = await self._do(lambda: self._store.remove(name), f"schedule {name!r} may be removed")
        if done.answer is None:
            raise of_table(name)
        if not (done.answer or done.is_repeated):
            raise _missing(name)

    async def pause(self, name: str) -> None:
        """Let a schedule not be due until it is resumed; what is missed meanwhile is not caught up.

        Raises:
            ScheduleError: there is none.
            UnansweredError: Redis does not answer any more; it may be paused.
            RedisError: Redis is away, and nothing was done.
        """
        _check_name(name)
        if not (await self._do(lambda: self._store.pause(name), f"schedule {name!r} may be paused")).answer:
            raise _missing(name)

    async def resume(self, name: str) -> datetime:
        """Let a paused schedule be due again; gives the next time.

        Raises:
            ScheduleError: there is none, or it has no next time.
            UnansweredError: Redis does not answer any more; it may go on.
            RedisError: Redis is away, and nothing was done.
        """
        while True:
            stored, kept = await self._get(name)
            following = self._next(kept, from_ms(await self._store.now_ms()))
            resume = partial(self._store.resume, name, to_ms(following), stored.data)
            # Else it was changed since it was read.
            if (await self._do(resume, f"schedule {name!r} may go on")).answer:
                return kept.due or following

    async def run(self, name: str) -> str:
        """Send a schedule's task now, beside its own times; gives the task's id.

        Raises:
            ScheduleError: there is none, or another task has its unique key.
            SendFailedError: it was not sent.
        """
        kept = await self.get(name)
        now = from_ms(await self._store.now_ms())
        span = occurrence_span(self._broker, kept.definition, now)
        message: BrokerMessage = await occurrence_message(self._broker, kept.definition, now, timedelta(0), span)
        held_by.set(None)
        await self._broker.kick(message)
        if (holder := held_by.get()) is not None:
            raise ScheduleError(f"schedule {name!r} is not sent, since task {holder} waits or runs with its unique key")
        if span is not None:
            span.sent()
        await after_occurrence(self._broker, message, deadline=send_deadline(self._broker))
        return message.task_id

    async def get(self, name: str) -> ScheduleState:
        """A schedule by its name.

        Raises:
            ScheduleError: there is none, or it cannot be read.
        """
        return (await self._get(name))[1]

    async def all(self) -> AsyncIterator[ScheduleState]:
        """All schedules that can be read, in no order."""
        async for stored in self._store.all():
            try:
                yield ScheduleState.read(stored, self._broker)
            except UnreadableScheduleError:
                continue

    async def added(self) -> AsyncIterator[ScheduledTask]:
        """The schedules that are in no table, as taskiq has them."""
        async for kept in self.all():
            if kept.definition.is_dynamic:
                yield as_taskiq(kept.definition)

    async def _get(self, name: str) -> tuple[StoredSchedule, ScheduleState]:
        _check_name(name)
        stored = await self._store.get(name)
        if stored is None:
            raise _missing(name)
        try:
            return stored, ScheduleState.read(stored, self._broker)
        except UnreadableScheduleError as error:
            raise ScheduleError(f"schedule {name!r} cannot be read: {error}") from None

    async def _do(self, call: Callable[[], Awaitable[FireResult]], otherwise: str) -> Done[FireResult]:
        # A Redis that is away already is not waited for: nothing has begun.
        await self._store.now_ms()
        return await do(call, deadline=send_deadline(self._broker), otherwise=otherwise)

    def _next(self, kept: ScheduleState, now: datetime) -> datetime:
        name = kept.definition.name
        try:
            following = next_after(kept.definition, now)
        except UnreadableScheduleError as error:
            raise ScheduleError(f"schedule {name!r}: {error}") from None
        if following is None:
            raise ScheduleError(f"schedule {name!r} has no time after now: remove it")
        return following

    async def _add_batch(self, batch: Sequence[ScheduledTask]) -> Sequence[BaseException | None]:
        now = from_ms(await retry_transient(self._store.now_ms, send_deadline(self._broker)))
        answers: list[BaseException | None] = [None] * len(batch)
        entries: dict[int, Entry] = {}
        known = await self._known([schedule.schedule_id for schedule in batch])
        for place, schedule in enumerate(batch):
            try:
                entries[place] = self._entry(schedule, now, known.get(schedule.schedule_id))
            except (ScheduleError, InvalidTaskArgumentsError) as error:
                answers[place] = error
        wanted, script = list(entries.values()), uuid4().hex
        kept = await retry_transient(lambda: self._store.add(wanted, script=script), send_deadline(self._broker))
        for (place, entry), is_kept in zip(entries.items(), kept, strict=True):
            if isinstance(is_kept, ResponseError):
                answers[place] = is_kept
            elif not is_kept:
                answers[place] = ScheduleError(f"schedule {entry.name!r}: the service's table has one of that name")
        return answers

    async def _known(self, names: Sequence[str]) -> dict[str, Trigger]:
        """The times of those that there are."""
        known: dict[str, Trigger] = {}
        while names:
            some = names
            found = await retry_transient(lambda: self._store.definitions(some), send_deadline(self._broker))  # noqa: B023  # it is awaited here
            for name, data in zip(some, found, strict=False):
                if isinstance(data, bytes):
                    with suppress(UnreadableScheduleError):
                        known[name] = load_trusted(data, self._broker, name=name).timing
            names = names[max(len(found), 1) :]
        return known

    def _entry(self, schedule: ScheduledTask, now: datetime, kept: Trigger | None) -> Entry:
        definition = definition_of(schedule, self._broker, interval_start=now, is_dynamic=True)
        timing = definition.timing
        if isinstance(timing, IntervalTrigger) and isinstance(kept, IntervalTrigger) and timing.every == kept.every:
            # Else one that is added at each start of a program, say, would never be due.
            timing = kept
            definition = definition.model_copy(update={"timing": kept})
        # A time that is over is sent at once.
        due = timing.at if isinstance(timing, DateTrigger) else timing.next_after(now)
        due_ms = None if due is None else to_ms(due)
        return Entry(
            name=definition.name, data=dump_sealed(definition, self._broker), due_ms=due_ms, stays=timing == kept
        )


def of_table(name: str) -> ScheduleError:
    """What is said where one is to be removed that the service's table has."""
    return ScheduleError(f"schedule {name!r} is in the service's table: remove it there, or pause it")


def _check_name(name: str) -> None:
    text(name, "a schedule", "its name")
    # Longer than what is added may be, since a stranger's is to be removed too.
    if len(name) > LONGEST_NAME:
        raise _missing(name)


def _missing(name: str) -> ScheduleError:
    return ScheduleError(f"there is no schedule {name[:_SHOWN]!r}")
