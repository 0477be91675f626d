"""Tasks: what there is to send, and what is paused of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.broker.known_queues import queue_of_task
from kiqstart.broker.pauses import Pausable, where_as_text
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.call_options import options_of
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.operations.schedule_wording import shown_duration, shown_timing
from kiqstart.scheduler.table import Schedule


@dataclass(frozen=True, kw_only=True)
class TaskSeen:
    """What is shown of a task.

    Args:
        arguments: as they stand in its signature.
        retries: how often and how far apart; '-' for never.
        timings: when static schedules send it.
    """

    name: str
    queue: str
    arguments: Sequence[str]
    retries: str
    timings: Sequence[str]


async def tasks(visit: Visit) -> Response:
    """Show them."""
    site = visit.site
    found = sorted(site.broker.get_all_tasks().values(), key=lambda one: one.task_name)
    pauses = await site.looks.share("pauses", lambda: pauses_of(site.broker).all())
    paused = [one for one in pauses if one.kind is Pausable.TASK]
    return visit.render(
        "tasks.html",
        tasks=[_seen(one, site.app.schedules) for one in found],
        pauses=paused,
        paused={one.name for one in paused if not one.where},
        partly_paused={one.name for one in paused if one.where},
        said_of=said,
        calls_of=where_as_text,
    )


def _seen(task: AsyncTaskiqDecoratedTask[..., object], schedules: Sequence[Schedule]) -> TaskSeen:
    retries = int(task.labels.get("max_retries", 0))
    delay = timedelta(seconds=float(task.labels.get("retry_delay", 0)))
    return TaskSeen(
        name=task.task_name,
        queue=queue_of_task(task),
        arguments=[one.described for one in options_of(task)],
        retries=f"{retries}, {shown_duration(delay)} apart" if retries else "-",
        timings=[shown_timing(one.timing) for one in schedules if one.task == task.task_name],
    )
