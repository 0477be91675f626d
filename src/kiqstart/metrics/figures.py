"""All figures of an application, as they are in Redis now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from redis.exceptions import NoPermissionError

from kiqstart.broker.acts import Acts, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import QueueView, WorkerView, queue_views, read_workers
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.lost_workers import LostWorker, read_lost_workers
from kiqstart.broker.pauses import Pause, Pauses
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.run_stats import TaskStats, read_task_stats
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.retention.count_names import BACKLOG, BATCHES, LAST_SUCCESS, MICROSECONDS, ROWS, RUNS
from kiqstart.scheduler.overview import Overview, overview
from kiqstart.scheduler.scheduler_stats import ScheduleStats, read_schedule_stats
from kiqstart.scheduler.source import DurableScheduleSource

_LOST_RECENTLY: Final = 24 * 3600
_ACTS_LOOKED_AT: Final = 200


@dataclass(frozen=True, kw_only=True)
class PolicyStats:
    """What all workers together have counted of a retention policy.

    Args:
        seconds: that its batches took.
        runs: how many ended, by why.
        backlog: rows that were left, by estimate, after its latest batch; None where none is known.
        last_success: when a run last went through all rows, in seconds since the Unix epoch; 0.0 where none is known.
    """

    policy: str
    rows: int = 0
    batches: int = 0
    seconds: float = 0.0
    runs: Mapping[str, int] = field(default_factory=dict[str, int])
    backlog: int | None = None
    last_success: float = 0.0


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
        policies=await _read_policies(broker, policies),
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


async def _read_policies(broker: StreamBroker, known: Sequence[str]) -> list[PolicyStats]:
    by_policy: dict[str, dict[str, str]] = {name: {} for name in known}
    for raw, value in (await broker.connection.redis.hgetall(broker.keys.retention_stats)).items():
        name, _, what = text_of_name(raw).rpartition("\n")
        by_policy.setdefault(name, {})[what] = value.decode(errors="replace")
    return [_policy_stats(name, by_policy[name]) for name in sorted(by_policy)]


def _policy_stats(name: str, found: Mapping[str, str]) -> PolicyStats:
    return PolicyStats(
        policy=name,
        rows=whole_number(found.get(ROWS), 0),
        batches=whole_number(found.get(BATCHES), 0),
        seconds=whole_number(found.get(MICROSECONDS), 0) / 1e6,
        runs={what.removeprefix(RUNS): whole_number(count, 0) for what, count in sorted(found.items()) if RUNS in what},
        backlog=None if BACKLOG not in found else whole_number(found[BACKLOG], 0),
        last_success=float(whole_number(found.get(LAST_SUCCESS), 0)),
    )
