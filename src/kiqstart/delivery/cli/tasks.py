"""`kiqstart tasks`: what there is to send, and when it is sent by itself."""

import inspect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args, get_origin

from aioinject import Object
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.delivery.tasks.registry import TasksRegistry
from kiqstart.delivery.tasks.schedules import SCHEDULES
from kiqstart.infrastructure.database.settings import DatabaseSettings
from kiqstart.infrastructure.redis.settings import IN_MEMORY_URL, RedisSettings
from kiqstart.infrastructure.taskiq.arguments import task_arguments
from kiqstart.infrastructure.taskiq.schedules import CronSchedule, IntervalSchedule, Schedule
from kiqstart.ioc.container import ContainerFactory


def run_tasks() -> None:
    """Print the table. Nothing is connected, so no server has to be named."""
    container = ContainerFactory(
        overrides=[
            Object(DatabaseSettings(database_url=SecretStr("postgresql://")), interface=DatabaseSettings),
            Object(RedisSettings(redis_url=SecretStr(IN_MEMORY_URL)), interface=RedisSettings),
        ]
    )()
    registry = container.resolve(TasksRegistry)
    tasks = list(registry.broker.get_all_tasks().values())
    Console().print(tasks_table(tasks, SCHEDULES, now=datetime.now(UTC)))


def tasks_table(
    tasks: Sequence[AsyncTaskiqDecoratedTask[..., object]], schedules: Sequence[Schedule], *, now: datetime
) -> Table:
    """A line for each task and each of its schedules, with the first time after `now` at which it is due, in UTC."""
    table = Table("task", "arguments", "retries", "schedule", "next run (UTC)")
    for task in sorted(tasks, key=lambda one: one.task_name):
        own = [schedule for schedule in schedules if schedule.task == task.task_name]
        table.add_row(
            task.task_name,
            shown_arguments(task),
            shown_retries(task),
            "\n".join(shown_schedule(schedule) for schedule in own) or "-",
            "\n".join(f"{next(schedule.occurrences(now)):%Y-%m-%d %H:%M:%S}" for schedule in own) or "-",
        )
    return table


def shown_arguments(task: AsyncTaskiqDecoratedTask[..., object]) -> str:
    """The arguments as they stand in the signature: `days_old: int = 30`."""
    parameters = task_arguments(task.original_func).signature.parameters.values()
    return "\n".join(str(parameter.replace(annotation=_plain(parameter.annotation))) for parameter in parameters) or "-"


def shown_retries(task: AsyncTaskiqDecoratedTask[..., object]) -> str:
    """How often and how far apart: `3, each after 0:01:00`."""
    retries = int(task.labels.get("max_retries", 0))
    delay = timedelta(seconds=float(task.labels.get("retry_delay", 0)))
    return f"{retries}, each after {delay}" if retries else "-"


def shown_schedule(schedule: Schedule) -> str:
    """When, and with which arguments: `every 1 day, 0:00:00 (days_old=30)`."""
    match schedule:
        case IntervalSchedule():
            when = f"every {schedule.every}"
        case CronSchedule():
            when = f"{schedule.cron} {schedule.time_zone}"
        case _:
            when = schedule.name
    arguments = ", ".join(f"{name}={value!r}" for name, value in schedule.arguments.items())
    return f"{when} ({arguments})" if arguments else when


def _plain(annotation: object) -> object:
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    return annotation if annotation is not None else inspect.Parameter.empty
