"""`kiqstart metrics`: figures for Prometheus, on standard output."""

import asyncio
import math
from collections.abc import Sequence

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.cli.application import stream_broker
from kiqstart.cli.terminal import echo
from kiqstart.observability.exposition import Metric, MetricType, Sample, exposition
from kiqstart.scheduler.overview import Overview, overview
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.labels import QUEUE_LABEL


def run_metrics() -> None:
    """Print the metrics."""
    echo(asyncio.run(_metrics()).rstrip("\n"))


def task_metrics(counts: QueueStats) -> list[Metric]:
    """What there is of tasks and workers."""
    by_queue = [(one, {"queue": one.queue}) for one in counts.queues]
    return [
        Metric(
            name="kiqstart_tasks_waiting",
            description="Tasks that no worker has yet.",
            samples=[Sample(value=one.waiting, labels=labels) for one, labels in by_queue],
        ),
        Metric(
            name="kiqstart_tasks_running",
            description="Tasks in workers' hands.",
            samples=[Sample(value=one.running, labels=labels) for one, labels in by_queue],
        ),
        _gauge("kiqstart_tasks_delayed", "Tasks that are due later, retries included, of all queues.", counts.delayed),
        _gauge("kiqstart_dead_letters", "Messages that could not be run and are kept.", counts.dead_letters),
        Metric(
            name="kiqstart_dead_letters_dropped_total",
            description="Dead letters that were dropped since they were too old or too many.",
            type=MetricType.COUNTER,
            samples=[Sample(value=counts.dropped)],
        ),
        _gauge("kiqstart_workers", "Worker processes that live.", counts.workers),
    ]


def schedule_metrics(found: Overview) -> list[Metric]:
    """Who sends what is due, how late, and when each schedule of the table is due next."""
    age = found.heartbeats.seconds_since_any
    states = {"active": found.active, "paused": found.paused, "unreadable": len(found.unreadable)}
    return [
        _gauge("kiqstart_schedulers", "Schedulers that live.", found.heartbeats.living),
        _gauge(
            "kiqstart_scheduler_last_look_age_seconds",
            "Seconds since any scheduler looked at what is due; +Inf where none is known.",
            math.inf if age is None else age,
        ),
        _gauge(
            "kiqstart_schedules_overdue_seconds",
            "Seconds by which the most overdue schedule is late.",
            found.seconds_overdue,
        ),
        Metric(
            name="kiqstart_schedules",
            description="Schedules, those included that were added at run time.",
            samples=[Sample(value=count, labels={"state": state}) for state, count in states.items()],
        ),
        Metric(
            name="kiqstart_schedule_next_due_timestamp_seconds",
            description="When each schedule of the table is due next, unless it is paused.",
            samples=[
                Sample(value=one.due.timestamp(), labels={"schedule": one.definition.name})
                for one in found.table
                if one.due is not None
            ],
        ),
    ]


def _gauge(name: str, description: str, value: float) -> Metric:
    return Metric(name=name, description=description, samples=[Sample(value=value)])


async def _metrics() -> str:
    async with stream_broker() as broker:
        counts = await count_tasks(broker, [*broker.queues, *_queues_of_tasks(broker)])
        found = await overview(DurableScheduleSource(broker).store, limit=0)
    # Services that share a machine's collector are told apart.
    return exposition([*task_metrics(counts), *schedule_metrics(found)], labels={"service": broker.keys.tag})


def _queues_of_tasks(broker: StreamBroker) -> Sequence[str]:
    labels = [task.labels for task in broker.get_all_tasks().values()]
    return [str(one[QUEUE_LABEL]) for one in labels if QUEUE_LABEL in one]
