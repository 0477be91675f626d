"""Schedules as those who ask for them see them: added, removed, paused, sent now, and looked at."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from taskiq import AsyncBroker, BrokerMessage, ScheduledTask

from kiqstart.infrastructure.errors import OperatorError
from kiqstart.infrastructure.taskiq.arguments import task_arguments
from kiqstart.infrastructure.taskiq.scheduling.definition import Definition, UnreadableScheduleError
from kiqstart.infrastructure.taskiq.scheduling.occurrence import from_ms, occurrence_message, to_ms
from kiqstart.infrastructure.taskiq.scheduling.store import Entry, LastStep, ScheduleStore, StoredSchedule
from kiqstart.infrastructure.taskiq.scheduling.timing import Cron, Interval, Once, Timing


class ScheduleError(OperatorError):
    """A schedule cannot be kept, or is not there."""


@dataclass(frozen=True, kw_only=True)
class KeptSchedule:
    """A schedule with its state.

    Args:
        due: when it is due; None: it is paused.
        last: what it did last; None: nothing yet.
    """

    definition: Definition
    due: datetime | None
    is_paused: bool
    last: LastStep | None


class Schedules:
    """The schedules of a service, in the store of its broker."""

    def __init__(self, broker: AsyncBroker, store: ScheduleStore) -> None:
        self._broker = broker
        self._store = store

    async def add(self, schedule: ScheduledTask) -> None:
        """Add a schedule, or change the one that has its id.

        An interval is counted from now. A `cron_offset` is a time zone's name or a difference to UTC.

        Raises:
            ScheduleError: its times cannot be, its task is not known, or the service's table has that id.
            InvalidTaskArgumentsError: its task does not take these arguments.
            RedisError: Redis is away.
        """
        task = self._broker.find_task(schedule.task_name)
        if task is None:
            raise ScheduleError(f"schedule {schedule.schedule_id!r}: there is no task {schedule.task_name!r}")
        task_arguments(task.original_func).validate(schedule.task_name, schedule.args, schedule.kwargs)
        now = from_ms(await self._store.now_ms())
        try:
            definition = Definition(
                name=schedule.schedule_id,
                task=schedule.task_name,
                args=tuple(schedule.args),
                kwargs=schedule.kwargs,
                labels=_typed(schedule.labels, task.labels),
                timing=_timing(schedule, now),
                is_dynamic=True,
            )
        except (ValidationError, ValueError) as error:
            raise ScheduleError(f"schedule {schedule.schedule_id!r}: {problem(error)}") from None
        timing = definition.timing
        # A time that is over is sent at once.
        due = timing.at if isinstance(timing, Once) else timing.next_after(now)
        entry = Entry(name=definition.name, data=definition.dump(), due_ms=None if due is None else to_ms(due))
        if not await self._store.add(entry):
            raise ScheduleError(f"schedule {schedule.schedule_id!r}: the service's table has one of that name")

    async def remove(self, name: str) -> None:
        """Remove a schedule that was added.

        Raises:
            ScheduleError: there is none, or it is the service's table that has it.
            RedisError: Redis is away.
        """
        removed = await self._store.remove(name)
        if removed is None:
            raise ScheduleError(f"schedule {name!r} is in the service's table: remove it there, or pause it")
        if not removed:
            raise ScheduleError(f"there is no schedule {name!r}")

    async def pause(self, name: str) -> None:
        """Let a schedule not be due until it is resumed; what is missed meanwhile is not made up.

        Raises:
            ScheduleError: there is none.
        """
        if not await self._store.pause(name):
            raise ScheduleError(f"there is no schedule {name!r}")

    async def resume(self, name: str) -> datetime:
        """Let a paused schedule be due again; gives the next time.

        Raises:
            ScheduleError: there is none, or it has no next time.
        """
        kept = await self.get(name)
        following = kept.definition.timing.next_after(from_ms(await self._store.now_ms()))
        if following is None:
            raise ScheduleError(f"schedule {name!r} has no time after now: remove it")
        await self._store.resume(name, to_ms(following))
        return kept.due or following

    async def run(self, name: str) -> str:
        """Send a schedule's task now, beside its own times; gives the task's id.

        Raises:
            ScheduleError: there is none.
            SendFailedError: it was not sent.
        """
        kept = await self.get(name)
        now = from_ms(await self._store.now_ms())
        message: BrokerMessage = await occurrence_message(self._broker, kept.definition, now, timedelta(0))
        await self._broker.kick(message)
        return message.task_id

    async def get(self, name: str) -> KeptSchedule:
        """A schedule by its name.

        Raises:
            ScheduleError: there is none, or it cannot be read.
        """
        stored = await self._store.get(name)
        if stored is None:
            raise ScheduleError(f"there is no schedule {name!r}")
        try:
            return _kept(stored)
        except UnreadableScheduleError as error:
            raise ScheduleError(f"schedule {name!r} cannot be read: {error}") from None

    async def all(self) -> AsyncIterator[KeptSchedule]:
        """All schedules that can be read, in no order."""
        async for stored in self._store.all():
            try:
                yield _kept(stored)
            except UnreadableScheduleError:
                continue

    async def added(self) -> AsyncIterator[ScheduledTask]:
        """The schedules that are in no table, as taskiq has them."""
        async for kept in self.all():
            if kept.definition.is_dynamic:
                yield _as_taskiq(kept.definition)

    async def seconds_since_any_scheduler(self) -> float | None:
        """Seconds since a scheduler last looked at what is due; None: none is there."""
        beats = await self._store.heartbeats()
        return min(((beats.now_ms - seen) / 1000 for seen in beats.seen_ms.values()), default=None)


def problem(error: ValidationError | ValueError) -> str:
    """What is wrong, in a line."""
    if isinstance(error, ValidationError):
        return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)


def _kept(stored: StoredSchedule) -> KeptSchedule:
    return KeptSchedule(
        definition=Definition.load(stored.data),
        due=None if stored.due_ms is None else from_ms(stored.due_ms),
        is_paused=stored.is_paused,
        last=stored.last,
    )


def _typed(labels: Mapping[str, object], registered: Mapping[str, object]) -> dict[str, object]:
    # taskiq makes text of a label's value; where it is the task's own, its type is known.
    return {name: registered[name] if str(registered.get(name)) == value else value for name, value in labels.items()}


def _timing(schedule: ScheduledTask, now: datetime) -> Timing:
    if schedule.cron is not None:
        return Cron(expression=schedule.cron, time_zone=_zone_name(schedule.cron_offset))
    if schedule.interval is not None:
        every = schedule.interval if isinstance(schedule.interval, timedelta) else timedelta(seconds=schedule.interval)
        return Interval(every=every, start=now)
    at = schedule.time or now
    return Once(at=at if at.tzinfo else at.replace(tzinfo=UTC))


def _zone_name(offset: str | timedelta | None) -> str:
    if not isinstance(offset, timedelta):
        return offset or "UTC"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _as_taskiq(definition: Definition) -> ScheduledTask:
    timing = definition.timing
    return ScheduledTask(
        task_name=definition.task,
        labels=dict(definition.labels),
        args=list(definition.args),
        kwargs=dict(definition.kwargs),
        schedule_id=definition.name,
        cron=timing.expression if isinstance(timing, Cron) else None,
        cron_offset=timing.time_zone if isinstance(timing, Cron) else None,
        interval=timing.every if isinstance(timing, Interval) else None,
        time=timing.at if isinstance(timing, Once) else None,
    )
