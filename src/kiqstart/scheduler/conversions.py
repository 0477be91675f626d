"""Between schedules as taskiq has them, in labels and dynamic ones, and as they are kept."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, cast

from pydantic import ValidationError
from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, BrokerMessage, ScheduledTask

from kiqstart.broker.sender import SendFailedError
from kiqstart.errors import OperatorError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.occurrence import check_message
from kiqstart.scheduler.store import LARGEST
from kiqstart.scheduler.triggers import EPOCH, CronTrigger, DateTrigger, IntervalTrigger, Trigger
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.caller_types import check_time_zone, shown
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError, source_file
from kiqstart.tasks.label_values import option_problem
from kiqstart.tasks.written import lost_argument

_SCHEDULE_LABEL = "schedule"
LONGEST_NAME: Final = 1000
"""Characters of a schedule's name: it is part of each task's id, and of the name of its result."""
_SHOWN: Final = 100


class ScheduleError(OperatorError):
    """A schedule cannot be kept, or is not there."""


def definition_of(
    schedule: ScheduledTask, broker: AsyncBroker, *, interval_start: datetime, is_dynamic: bool
) -> ScheduleDefinition:
    """What is kept of a schedule of taskiq's.

    Raises:
        ScheduleError: its times cannot be, its task is not known, or it is nothing that JSON has.
        InvalidTaskArgumentsError: its task does not take these arguments.
    """
    task = broker.find_task(schedule.task_name)
    if task is None:
        raise ScheduleError(f"{_named(schedule)}: there is no task {schedule.task_name[:_SHOWN]!r}")
    arguments = task_arguments(task.original_func)
    arguments.validate(schedule.task_name, schedule.args, schedule.kwargs)
    args, kwargs = arguments.name_secrets(schedule.args, schedule.kwargs)
    labels = _typed(schedule.labels, task.labels)
    if refusal := option_problem({name: value for name, value in labels.items() if task.labels.get(name) != value}):
        raise ScheduleError(f"{_named(schedule)}: {refusal}")
    try:
        definition = ScheduleDefinition(
            name=schedule.schedule_id,
            task=schedule.task_name,
            args=tuple(args),
            kwargs=kwargs,
            labels=labels,
            timing=_timing(schedule, interval_start),
            is_dynamic=is_dynamic,
        )
        check_size(definition, broker)
    except (ValueError, OverflowError) as error:
        raise ScheduleError(f"{_named(schedule)}: {problem(error)}") from None
    return definition


def check_size(definition: ScheduleDefinition, broker: AsyncBroker) -> None:
    """Refuse what cannot be kept, or cannot be sent at any time.

    Raises:
        ValueError: it is nothing that JSON has, or something else there, it or its name is too large, or a send would
            refuse its labels.
    """
    if len(definition.name) > LONGEST_NAME:
        raise ValueError(f"its name has {len(definition.name)} characters, of which {LONGEST_NAME} are possible")
    data = definition.dump()
    if len(data) > LARGEST:
        raise ValueError(f"it has {len(data)} bytes as JSON, of which {LARGEST} are possible")
    if lost := lost_argument(definition.args, definition.kwargs, data):
        raise ValueError(lost)
    labels = dict(definition.labels)
    try:
        # Of the message, which has little more than this.
        check_message(
            BrokerMessage(task_id=definition.name, task_name=definition.task, message=data, labels=labels), broker
        )
    except SendFailedError as error:
        raise ValueError(str(error)) from None


def label_definitions(broker: AsyncBroker) -> list[ScheduleDefinition]:
    """The schedules in the tasks' labels: `@broker.task(schedule=[{"cron": "0 2 * * *", "args": [30]}])`.

    One without a `schedule_id` is named by its task and its place there: `task-0`.

    Raises:
        WiringError: one that cannot be, with the task's file.
    """
    definitions: list[ScheduleDefinition] = []
    for task in broker.get_all_tasks().values():
        for name, entry in _entries(task):
            where = f"{source_file(task.original_func)}: task {task.task_name[:_SHOWN]!r}"
            try:
                scheduled = ScheduledTask.model_validate(
                    {
                        "args": [],
                        "kwargs": {},
                        **entry,
                        "task_name": task.task_name,
                        "labels": {**cast("dict[str, object]", entry.get("labels", {})), **simple_labels(task.labels)},
                        "schedule_id": name,
                    }
                )
                definitions.append(definition_of(scheduled, broker, interval_start=EPOCH, is_dynamic=False))
            except ValidationError as error:
                raise WiringError(f"{where}: schedule {name[:_SHOWN]!r}: {problem(error)}") from None
            except (ScheduleError, InvalidTaskArgumentsError) as error:
                raise WiringError(f"{where}: {error}") from None
    return definitions


def simple_labels(labels: Mapping[str, object]) -> dict[str, object]:
    """The labels that a message can carry."""
    return {name: value for name, value in labels.items() if isinstance(value, str | int | float | bool)}


def as_taskiq(definition: ScheduleDefinition) -> ScheduledTask:
    """A kept schedule as taskiq has it."""
    timing = definition.timing
    return ScheduledTask(
        task_name=definition.task,
        labels=dict(definition.labels),
        args=list(definition.args),
        kwargs=dict(definition.kwargs),
        schedule_id=definition.name,
        cron=timing.expression if isinstance(timing, CronTrigger) else None,
        cron_offset=timing.time_zone if isinstance(timing, CronTrigger) else None,
        interval=timing.every if isinstance(timing, IntervalTrigger) else None,
        time=timing.at if isinstance(timing, DateTrigger) else None,
    )


def problem(error: ValueError | OverflowError) -> str:
    """What is wrong, in a line."""
    if isinstance(error, UnicodeEncodeError):
        return f"a text of it is not UTF-8: {error.reason}"
    if isinstance(error, ValidationError):
        return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)


def _named(schedule: ScheduledTask) -> str:
    return f"schedule {schedule.schedule_id[:_SHOWN]!r}"


def _entries(task: AsyncTaskiqDecoratedTask[..., object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    entries = cast("list[Mapping[str, object]]", task.labels.get(_SCHEDULE_LABEL, []))
    for place, entry in enumerate(entries):
        yield str(entry.get("schedule_id", f"{task.task_name}-{place}")), entry


def _typed(labels: Mapping[str, object], registered: Mapping[str, object]) -> dict[str, object]:
    # taskiq makes text of a label's value; where it is the task's own, its type is known.
    return {
        name: registered[name] if str(registered.get(name)) == value else value
        for name, value in labels.items()
        if name != _SCHEDULE_LABEL
    }


def _timing(schedule: ScheduledTask, now: datetime) -> Trigger:
    if schedule.cron is not None:
        return CronTrigger(expression=schedule.cron, time_zone=_zone_name(schedule.cron_offset))
    if schedule.interval is not None:
        return IntervalTrigger(every=_span(schedule.interval), start=now)
    at = schedule.time or now
    check_time_zone(at)
    return DateTrigger(at=at)


def _span(interval: int | timedelta) -> timedelta:
    try:
        return interval if isinstance(interval, timedelta) else timedelta(seconds=interval)
    except OverflowError:
        raise ValueError(f"every={shown(interval)} seconds must be at most a hundred years") from None


def _zone_name(offset: str | timedelta | None) -> str:
    if not isinstance(offset, timedelta):
        return offset or "UTC"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"
