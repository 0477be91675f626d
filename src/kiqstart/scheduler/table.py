"""A service's table of schedules: a line for each, checked when it is read."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError
from taskiq import AsyncBroker

from kiqstart.scheduler.conversions import check_size, problem, simple_labels
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.misfires import MOST_MADE_UP
from kiqstart.scheduler.triggers import CronTrigger, IntervalTrigger, Trigger
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.caller_types import moment, shown
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError, shown_path

_SHOWN: Final = 100
# By field: what it has to be, and what to write.
_WANTED: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    **dict.fromkeys(("name", "task", "cron", "time_zone"), (lambda value: isinstance(value, str), "text")),
    "arguments": (lambda value: isinstance(value, Mapping), "arguments by their names, such as {'days_old': 7}"),
    "catch_up": (lambda value: value in list(CatchUp), f"one of {', '.join(f'CatchUp.{one.name}' for one in CatchUp)}"),
    "max_catch_up": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "misfire_grace_time": (lambda value: value is None or isinstance(value, timedelta), "a timedelta, or None"),
    "every": (lambda value: isinstance(value, timedelta), "a timedelta"),
}


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """One line of a table of schedules.

    Args:
        name: unique in the table; part of each occurrence's id.
        task: the task's name.
        arguments: named arguments of the call, as JSON values.
        missed: what is done with times at which no scheduler could send.
        max_catch_up: how many missed times are caught up, with `CatchUp.ALL`; 10,000 at most.
        misfire_grace_time: how late a missed time may be caught up; None: however late.
    """

    name: str
    task: str
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    catch_up: CatchUp = CatchUp.LATEST
    max_catch_up: int = 100
    misfire_grace_time: timedelta | None = None
    defined_at: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Remember the line that the schedule stands on, and check what can be checked without the task."""
        caller = sys._getframe(2)  # noqa: SLF001  # 0 is here, 1 the generated __init__, 2 the table
        object.__setattr__(self, "defined_at", f"{shown_path(caller.f_code.co_filename)}:{caller.f_lineno}")
        self._check_types()
        if not 1 <= self.max_catch_up <= MOST_MADE_UP:
            raise self.error(f"max_catch_up={self.max_catch_up} must be at least 1 and at most {MOST_MADE_UP}")
        if self.misfire_grace_time is not None and self.misfire_grace_time < timedelta(0):
            raise self.error(f"misfire_grace_time={self.misfire_grace_time} must not be negative")
        try:
            timing = self.timing
        except ValidationError as error:
            raise self.error(problem(error)) from None
        if timing.next_after(datetime.now(UTC)) is None:
            raise self.error("it is never due")

    def _check_types(self) -> None:
        # Not every caller's types are checked.
        for name in [one.name for one in fields(self) if one.name in _WANTED]:
            (is_well, wanted), value = _WANTED[name], getattr(self, name)
            if not is_well(value):
                raise self.error(f"{name}={shown(value)}: write {wanted}")

    @property
    @abstractmethod
    def timing(self) -> Trigger:
        """The times at which it is due."""

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """The times at which it is due, in order, each later than `after`, in UTC.

        Raises:
            TypeError: it is no datetime.
            ValueError: it has no time zone.
        """
        return self.timing.after(moment(after, "occurrences(…)"))

    def definition(self, broker: AsyncBroker) -> ScheduleDefinition:
        """What schedulers keep of it, its task's labels included.

        Raises:
            WiringError: the broker has no such task, or an argument is nothing that JSON has.
        """
        task = broker.find_task(self.task)
        if task is None:
            raise self.error(f"there is no task {shown(str(self.task))}")
        definition = ScheduleDefinition(
            name=self.name,
            task=str(self.task),
            kwargs=dict(self.arguments),
            labels=simple_labels(task.labels),
            timing=self.timing,
            catch_up=self.catch_up,
            max_catch_up=self.max_catch_up,
            misfire_grace_time=None if self.misfire_grace_time is None else self.misfire_grace_time.total_seconds(),
        )
        try:
            check_size(definition, broker)
        except ValueError as error:
            raise self.error(problem(error)) from None
        return definition

    def error(self, what: str) -> WiringError:
        """An error that names this line."""
        return WiringError(f"{self.defined_at}: schedule {str(self.name)[:_SHOWN]!r}: {what}")


@dataclass(frozen=True, kw_only=True)
class IntervalSchedule(Schedule):
    """Due each time `every` has passed, counted from the Unix epoch.

    The phase is thus the same for every process and after every restart: `every=timedelta(hours=24)` is due at midnight
    UTC, `every=timedelta(minutes=1)` on the full minute.
    """

    every: timedelta

    @property
    def timing(self) -> Trigger:
        """Multiples of the interval since the epoch."""
        return IntervalTrigger(every=self.every)


@dataclass(frozen=True, kw_only=True)
class CronSchedule(Schedule):
    """Due when a cron expression says so, in a named time zone; see `CronTrigger` for clock changes."""

    cron: str
    time_zone: str = "UTC"

    @property
    def timing(self) -> Trigger:
        """The expression's times."""
        return CronTrigger(expression=self.cron, time_zone=self.time_zone)


class StaticSchedules(tuple[Schedule, ...]):
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
            raise schedule.error(f"there is no task {shown(str(schedule.task))}; there are: {known}")
        try:
            task_arguments(task.original_func).validate(schedule.task, (), schedule.arguments)
        except InvalidTaskArgumentsError as error:
            raise schedule.error(f"arguments do not fit {error}") from None
        schedule.definition(broker)
