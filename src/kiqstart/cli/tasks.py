"""`kiqstart tasks`: what there is to send, and when it is sent by itself."""

import inspect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args, get_origin

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.cli.application import unconnected_application
from kiqstart.cli.schedules.wording import shown_arguments, shown_duration, shown_timing
from kiqstart.scheduler.table import Schedule
from kiqstart.tasks.arguments import task_arguments


def run_tasks() -> None:
    """Print the table. Nothing is connected, so no server has to be named."""
    app = unconnected_application()
    tasks = list(app.broker.get_all_tasks().values())
    Console().print(tasks_table(tasks, app.schedules, now=datetime.now(UTC)))


def tasks_table(
    tasks: Sequence[AsyncTaskiqDecoratedTask[..., object]], schedules: Sequence[Schedule], *, now: datetime
) -> Table:
    """A row for each task, its arguments below its name, and each of its schedules with the first time after `now`."""
    table = Table(box=SIMPLE_HEAD)
    for title in ("task", "retries", "schedule", "next run (UTC)"):
        table.add_column(title, no_wrap=True)
    for task in sorted(tasks, key=lambda one: one.task_name):
        own = [schedule for schedule in schedules if schedule.task == task.task_name]
        table.add_row(
            "\n  ".join([task.task_name, *shown_parameters(task)]),
            shown_retries(task),
            "\n".join(shown_schedule(schedule) for schedule in own) or "-",
            "\n".join(_next_run(schedule, now) for schedule in own) or "-",
        )
    return table


def shown_parameters(task: AsyncTaskiqDecoratedTask[..., object]) -> list[str]:
    """The arguments as they stand in the signature: `days_old: int = 30`."""
    parameters = task_arguments(task.original_func).signature.parameters.values()
    return [str(parameter.replace(annotation=_plain(parameter.annotation))) for parameter in parameters]


def shown_retries(task: AsyncTaskiqDecoratedTask[..., object]) -> str:
    """How often and how far apart: `3, 1 min apart`."""
    retries = int(task.labels.get("max_retries", 0))
    delay = timedelta(seconds=float(task.labels.get("retry_delay", 0)))
    return f"{retries}, {shown_duration(delay)} apart" if retries else "-"


def shown_schedule(schedule: Schedule) -> str:
    """When, and with which arguments: `every 1 d` and, on a line of its own, `days_old=30`."""
    return "\n  ".join([shown_timing(schedule.timing), *shown_arguments([], schedule.arguments)])


def _next_run(schedule: Schedule, now: datetime) -> str:
    # As many lines as the schedule beside it has.
    return f"{next(schedule.occurrences(now)):%Y-%m-%d %H:%M:%S}" + "\n" * len(schedule.arguments)


def _plain(annotation: object) -> object:
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    return annotation if annotation is not None else inspect.Parameter.empty
