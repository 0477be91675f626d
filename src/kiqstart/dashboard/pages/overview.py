"""The overview: what is wrong, what waits and runs, and what became of tasks of late."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.responses import Response

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import queue_views, read_workers
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.lost_workers import read_lost_workers
from kiqstart.broker.minute_stats import read_minutes
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.broker.task_stats import TaskStats, read_recent_task_stats
from kiqstart.dashboard.charts import HEIGHT, WIDTH, Chart
from kiqstart.dashboard.minute_charts import charts
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.checks import (
    LOST_OF_LATE,
    check_paused,
    check_scheduler,
    judge_queues,
    judge_runs,
    judge_workers,
)
from kiqstart.operations.findings import Finding, find

_CHECKS: Final[Sequence[tuple[str, Callable[[StreamBroker], Awaitable[str]]]]] = (
    ("Paused", check_paused),
    ("Scheduler", check_scheduler),
)
# In how many units a bar is drawn.
_WIDTH: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The part of a bar that stands for the runs that ended so."""

    outcome: Outcome
    count: int
    start: int
    width: int


@dataclass(frozen=True, kw_only=True)
class OverviewSeen:
    """What the page shows."""

    findings: Sequence[Finding]
    counts: QueueStats
    tasks: Sequence[TaskStats]
    charts: Sequence[Chart]


async def overview(visit: Visit) -> Response:
    """Show it."""
    broker = visit.site.broker
    seen = await visit.site.looks.share("overview", lambda: read_overview(broker))
    findings = [*seen.findings, *await visit.site.database.get(), *await visit.site.clean_ups.get()]
    most = max((sum(one.ended.values()) for one in seen.tasks), default=0)
    return visit.render(
        "overview.html",
        seen=seen,
        findings=findings,
        bars={one.task: bar(one, most) for one in seen.tasks},
        width=_WIDTH,
        chart_size=(WIDTH, HEIGHT),
        outcomes=list(Outcome),
        known=broker.get_all_tasks().keys(),
    )


async def read_overview(broker: StreamBroker) -> OverviewSeen:
    """Read it."""
    redis, keys = broker.connection.redis, broker.keys
    tasks = await read_recent_task_stats(redis, keys)
    counts = await count_tasks(broker, [*broker.queues, *queues_of_tasks(broker)])
    workers = await read_workers(broker)
    lost = await read_lost_workers(broker, seconds=LOST_OF_LATE)
    queues = await queue_views(broker, counts, workers)
    return OverviewSeen(
        findings=[
            await find("Workers", partial(judge_workers, workers, lost)),
            await find("Queues", partial(judge_queues, queues)),
            await find("Runs", partial(judge_runs, tasks)),
            *[await find(name, partial(check, broker)) for name, check in _CHECKS],
        ],
        counts=counts,
        # What fails is at the top.
        tasks=sorted(tasks, key=lambda one: (-one.problems, -one.started, one.task)),
        charts=charts(await read_minutes(redis, keys)),
    )


def bar(stats: TaskStats, most: int) -> list[Segment]:
    """A bar of all runs of a task that ended, as long as the longest where there are `most`."""
    segments: list[Segment] = []
    start = 0.0
    for outcome in Outcome:
        count = stats.ended.get(outcome, 0)
        if count:
            width = _WIDTH * count / most
            # A single failure of a million is still to be seen.
            segments.append(Segment(outcome=outcome, count=count, start=round(start), width=max(round(width), 4)))
            start += width
    return segments
