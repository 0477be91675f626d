"""`kiqstart tasks`: what there is to send, and when it is sent by itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.exceptions import RedisError
from rich.table import Table
from rich.text import Text
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import queue_of_task
from kiqstart.broker.pauses import Pausable, Pause, Pauses
from kiqstart.broker.redis_retry import reason
from kiqstart.cli.application import application, unconnected_application
from kiqstart.cli.pausing import pause_as_json
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.task_rates import rate_as_json, rates_table
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.call_options import call_options
from kiqstart.operations.pausing import said
from kiqstart.operations.rates import TaskRate, read_recent_rates
from kiqstart.operations.schedule_wording import shown_arguments, shown_duration, shown_timing
from kiqstart.redis.commands import async_commands
from kiqstart.scheduler.table import Schedule
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.labels import DEFAULT_QUEUE, UNIQUE_LABEL

# Where the output is no terminal, nobody's window limits it.
_SECONDS_FOR_AN_ANSWER: Final = 2.0

AnyTask = AsyncTaskiqDecoratedTask[..., object]


@dataclass(frozen=True, kw_only=True)
class SeenTasks:
    """What Redis says of tasks; nothing where it does not answer.

    Args:
        paused: tasks, and calls of tasks, that are.
        rates: how they fared in the last one to two hours.
    """

    paused: Sequence[Pause] = ()
    rates: Sequence[TaskRate] = ()


def run_tasks(*, as_json: bool) -> None:
    """Print the table. No server has to be named; a Redis that is says which tasks are paused, and how they fared."""
    app = _app()
    tasks = sorted(app.broker.get_all_tasks().values(), key=lambda one: one.task_name)
    seen, now = asyncio.run(_seen(app)), datetime.now(UTC)
    if as_json:
        echo_json([task_as_json(one, app.schedules, seen, now=now) for one in tasks])
        return
    print_table(tasks_table(tasks, app.schedules, now=now))
    for pause in seen.paused:
        echo(shown(said(pause)))
    if seen.rates:
        echo("\nin the last one to two hours")
        print_table(rates_table(seen.rates))


def tasks_table(tasks: Sequence[AnyTask], schedules: Sequence[Schedule], *, now: datetime) -> Table:
    """A row for each task, its arguments below its name, and each of its schedules with the first time after `now`."""
    table = new_table("task", "retries", "schedule")
    table.add_column("next run (UTC)", no_wrap=True)
    for task in sorted(tasks, key=lambda one: one.task_name):
        own = [schedule for schedule in schedules if schedule.task == task.task_name]
        cells = (
            "\n  ".join([shown(task.task_name), *shown_queue(task), *shown_parameters(task)]),
            shown_retries(task),
            "\n".join(shown_schedule(schedule) for schedule in own) or "-",
            "\n".join(_next_run(schedule, now) for schedule in own) or "-",
        )
        table.add_row(*map(Text, cells))
    return table


def task_as_json(task: AnyTask, schedules: Sequence[Schedule], seen: SeenTasks, *, now: datetime) -> dict[str, object]:
    """A task as `--json` has it."""
    labels, own = task.labels, [one for one in seen.paused if one.name == task.task_name]
    recent = next((one for one in seen.rates if one.task == task.task_name), None)
    return {
        "name": task.task_name,
        "queue": queue_of_task(task),
        "arguments": [
            {"name": one.name, "declared": one.described, "is_required": one.is_required}
            for one in call_options(task_arguments(task.original_func))
        ],
        "max_retries": int(labels.get("max_retries", 0)),
        "retry_delay": float(labels.get("retry_delay", 0)),
        "unique": labels.get(UNIQUE_LABEL),
        "schedules": [
            {
                "name": one.name,
                "when": shown_timing(one.timing),
                "kwargs": one.arguments,
                "next": next(one.occurrences(now)).isoformat(),
            }
            for one in schedules
            if one.task == task.task_name
        ],
        "paused": pause_as_json(next((one for one in own if not one.where), None)),
        "paused_calls": [{"where": one.where, **(pause_as_json(one) or {})} for one in own if one.where],
        "recent": None if recent is None else rate_as_json(recent),
    }


def shown_queue(task: AnyTask) -> list[str]:
    """The queue, where it is not the default one: a worker takes it only where it is told to."""
    queue = queue_of_task(task)
    return [] if queue == DEFAULT_QUEUE else [f"in the queue {shown(queue)}"]


def shown_parameters(task: AnyTask) -> list[str]:
    """The arguments as they stand in the signature: `days_old: int = 30`."""
    return [shown(one.described) for one in call_options(task_arguments(task.original_func))]


def shown_retries(task: AnyTask) -> str:
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


def _app() -> App:
    with suppress(OperatorError):
        return application()
    # What is wrong may be that no Redis is named; if it is something else, this says so too.
    return unconnected_application()


async def _seen(app: App) -> SeenTasks:
    broker = app.broker
    if not isinstance(broker, StreamBroker):
        return SeenTasks()
    redis = async_commands(broker.connections.async_client(timeout=_SECONDS_FOR_AN_ANSWER))
    try:
        pauses = await Pauses(redis, broker.keys, deadline=0.0).all()
        _, rates = await read_recent_rates(redis, broker.keys)
    except (RedisError, OSError) as error:
        echo(f"kiqstart: what is paused is not known, nor how tasks fared: {shown(reason(error))}", err=True)
        return SeenTasks()
    finally:
        await redis.aclose()
    return SeenTasks(paused=[one for one in pauses if one.kind is Pausable.TASK], rates=rates)
