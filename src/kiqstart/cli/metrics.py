"""`kiqstart metrics`: figures for Prometheus, on standard output."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_stats import SECONDS_BUCKETS, Histogram, TaskStats, read_task_stats
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


def metrics_of_runs(stats: Sequence[TaskStats]) -> list[Metric]:
    """What became of tasks, and how long they ran and waited; of all workers together."""
    by_task = [(one, {"task": one.task}) for one in stats]
    return [
        Metric(
            name="kiqstart_tasks_started_total",
            description="Runs of tasks that began.",
            type=MetricType.COUNTER,
            samples=[Sample(value=one.started, labels=labels) for one, labels in by_task],
        ),
        Metric(
            name="kiqstart_tasks_ended_total",
            description="Runs of tasks that ended, by how: a task that is retried has several.",
            type=MetricType.COUNTER,
            samples=[
                Sample(value=count, labels={**labels, "outcome": outcome.value})
                for one, labels in by_task
                for outcome, count in one.ended.items()
            ],
        ),
        Metric(
            name="kiqstart_task_run_seconds",
            description="How long a task's function took.",
            type=MetricType.HISTOGRAM,
            samples=[sample for one, labels in by_task for sample in _buckets(one.run, labels)],
        ),
        Metric(
            name="kiqstart_task_wait_seconds",
            description="How long a message was in its queue before a worker began with it.",
            type=MetricType.HISTOGRAM,
            samples=[sample for one, labels in by_task for sample in _buckets(one.wait, labels)],
        ),
    ]


def _buckets(found: Histogram, labels: Mapping[str, str]) -> list[Sample]:
    bounds = zip(SECONDS_BUCKETS, accumulate(found.counts), strict=True)
    return [
        *(
            Sample(
                value=count, labels={**labels, "le": "+Inf" if math.isinf(bound) else f"{bound:g}"}, ending="_bucket"
            )
            for bound, count in bounds
        ),
        Sample(value=found.seconds, labels=labels, ending="_sum"),
        Sample(value=found.count, labels=labels, ending="_count"),
    ]


async def _metrics() -> str:
    async with stream_broker() as broker:
        counts = await count_tasks(broker, [*broker.queues, *_queues_of_tasks(broker)])
        stats = await read_task_stats(broker.connection.redis, broker.keys)
        found = await overview(DurableScheduleSource(broker).store, limit=0)
    # Services that share a machine's collector are told apart.
    return exposition(
        [*task_metrics(counts), *metrics_of_runs(stats), *schedule_metrics(found)], labels={"service": broker.keys.tag}
    )


def _queues_of_tasks(broker: StreamBroker) -> Sequence[str]:
    labels = [task.labels for task in broker.get_all_tasks().values()]
    return [str(one[QUEUE_LABEL]) for one in labels if QUEUE_LABEL in one]
