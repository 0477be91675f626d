"""What a schedule is: a task, its arguments, and the times at which it is due."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from taskiq import AsyncBroker

from kiqstart.infrastructure.taskiq.arguments import task_arguments
from kiqstart.infrastructure.taskiq.errors import InvalidTaskArgumentsError, WiringError, shown_path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """One line of a table of schedules.

    Args:
        name: unique in the table; part of each occurrence's id.
        task: the task's name.
        arguments: named arguments of the call, as JSON values.
    """

    name: str
    task: str
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    defined_at: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Remember the line that the schedule stands on, and check what can be checked without the task."""
        caller = sys._getframe(2)  # noqa: SLF001  # 0 is here, 1 the generated __init__, 2 the table
        object.__setattr__(self, "defined_at", f"{shown_path(caller.f_code.co_filename)}:{caller.f_lineno}")
        self.check_times()

    @abstractmethod
    def check_times(self) -> None:
        """Raise `WiringError` where the schedule can never be due as written."""

    @abstractmethod
    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """The times at which it is due, in order, each later than `after`, in UTC, without end."""

    def error(self, problem: str) -> WiringError:
        """An error that names this line."""
        return WiringError(f"{self.defined_at}: schedule {self.name!r}: {problem}")


@dataclass(frozen=True, kw_only=True)
class IntervalSchedule(Schedule):
    """Due each time `every` has passed, counted from the Unix epoch.

    The phase is thus the same for every process and after every restart: `every=timedelta(hours=24)` is due at midnight
    UTC, `every=timedelta(minutes=1)` on the full minute.
    """

    every: timedelta

    def check_times(self) -> None:
        """Whole seconds only, at least one: the scheduler wakes once a second."""
        if self.every < _ONE_SECOND or self.every % _ONE_SECOND:
            raise self.error(f"every={self.every} must be a whole number of seconds, at least one")

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """Multiples of the interval since the epoch."""
        due = _EPOCH + (after - _EPOCH) // self.every * self.every
        while True:
            due += self.every
            yield due


@dataclass(frozen=True, kw_only=True)
class CronSchedule(Schedule):
    """Due when a cron expression says so, in a named time zone.

    cronsim computes the times as Debian's cron does: where a clock change skips a local time, that run comes at the
    next valid one; where it doubles one, it comes once.
    """

    cron: str
    time_zone: str = "UTC"

    def check_times(self) -> None:
        """The expression, the zone, and that there is a next time at all."""
        try:
            next(self.occurrences(_EPOCH), None)
        except CronSimError as error:
            raise self.error(f"cron {self.cron!r}: {error}") from None
        except (ZoneInfoNotFoundError, ValueError):
            raise self.error(f"time zone {self.time_zone!r} is not known; write one like 'Europe/Berlin'") from None
        if next(self.occurrences(datetime.now(UTC)), None) is None:
            raise self.error(f"cron {self.cron!r} is never due")

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """The expression's times, as UTC."""
        for local in CronSim(self.cron, after.astimezone(ZoneInfo(self.time_zone))):
            yield local.astimezone(UTC)


class ScheduleTable(tuple[Schedule, ...]):
    """All schedules of a service; a type of its own, by which a container finds it."""

    __slots__ = ()


def check_schedules(schedules: Iterable[Schedule], broker: AsyncBroker) -> None:
    """Check a table against the tasks of a broker.

    Raises:
        WiringError: a name that stands twice, a task that is not registered, or arguments that it does not take; with
            the file and the line.
    """
    names: dict[str, Schedule] = {}
    for schedule in schedules:
        if (other := names.setdefault(schedule.name, schedule)) is not schedule:
            raise schedule.error(f"the name stands at {other.defined_at} already")
        task = broker.find_task(schedule.task)
        if task is None:
            known = ", ".join(sorted(broker.get_all_tasks()))
            raise schedule.error(f"there is no task {str(schedule.task)!r}; there are: {known}")
        try:
            task_arguments(task.original_func).validate(schedule.task, (), schedule.arguments)
        except InvalidTaskArgumentsError as error:
            raise schedule.error(f"arguments do not fit {error}") from None
