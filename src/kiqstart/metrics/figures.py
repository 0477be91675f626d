"""All figures of an application, as they are in Redis now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import NoPermissionError

from kiqstart.broker.acts import Acts, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import QueueView, WorkerView, queue_views, read_workers
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.lost_workers import LostWorker, read_lost_workers
from kiqstart.broker.pauses import Pause, Pauses
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.broker.task_stats import TaskStats, read_task_stats
from kiqstart.metrics.policies import PolicyStats, read_policies
from kiqstart.scheduler.overview import Overview, overview
from kiqstart.scheduler.scheduler_stats import ScheduleStats, read_schedule_stats
from kiqstart.scheduler.source import DurableScheduleSource

_LOST_RECENTLY: Final = 24 * 3600
_ACTS_LOOKED_AT: Final = 200


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What there is and what was ever counted."""

    service: str
    counts: QueueStats
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]
    lost: Sequence[LostWorker]
    pauses: Sequence[Pause]
    tasks: Sequence[TaskStats]
    schedules: Overview
    schedule_stats: ScheduleStats
    policies: Sequence[PolicyStats]
    acts: Sequence[RecordedAct]


async def read_figures(broker: StreamBroker, policies: Sequence[str] = ()) -> Figures:
    """Read them.

    Args:
        broker: whose figures these are.
        policies: retention policies of which there are figures before they have ever run.

    Raises:
        RedisError: Redis is away, or its user lacks a right of a monitor.
    """
    redis, keys = broker.connection.redis, broker.keys
    counts = await count_tasks(broker, [*broker.queues, *queues_of_tasks(broker)])
    workers = await read_workers(broker)
    return Figures(
        service=keys.tag,
        counts=counts,
        queues=await queue_views(broker, counts, workers),
        workers=workers,
        lost=await read_lost_workers(broker, seconds=_LOST_RECENTLY),
        pauses=await Pauses(redis, keys, deadline=broker.options.send_deadline).all(),
        tasks=_with_known(await read_task_stats(redis, keys), broker.get_all_tasks()),
        schedules=await overview(DurableScheduleSource(broker).store, broker, limit=0),
        schedule_stats=await read_schedule_stats(redis, keys),
        policies=await read_policies(broker, policies),
        acts=await _read_acts(broker),
    )


def _with_known(found: Sequence[TaskStats], known: Iterable[str]) -> list[TaskStats]:
    """With those that never ran: a counter that begins with its first count seems not to have grown."""
    by_name = {name: TaskStats(task=name) for name in known} | {one.task: one for one in found}
    return [by_name[name] for name in sorted(by_name)]


async def _read_acts(broker: StreamBroker) -> Sequence[RecordedAct]:
    try:
        return await Acts(broker.connection.redis, broker.keys).newest(_ACTS_LOOKED_AT)
    except NoPermissionError:
        # A monitor of an earlier version could not read them, and is to see the rest.
        return ()
