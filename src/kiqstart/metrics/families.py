"""The figures under the names and types that Prometheus knows; docs/metrics.md has them all."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from kiqstart.broker.pauses import Pause
from kiqstart.broker.run_stats import SECONDS_BUCKETS, Histogram, Outcome, TaskStats
from kiqstart.metrics.figures import Figures, PolicyStats
from kiqstart.observability.terminal_escape import escape
from kiqstart.scheduler.scheduler_stats import DueOutcome

T = TypeVar("T")


@dataclass(frozen=True)
class _Rows(Generic[T]):
    """What has values: the names of its labels, and for each row their values."""

    labels: Sequence[str]
    rows: Iterable[tuple[Sequence[str], T]]


class Families:
    """Makes metrics, each with the service's label, which tells services apart that share a collector.

    Args:
        service: the prefix of the service's keys.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def gauge(self, name: str, text: str, rows: _Rows[T], value: Callable[[T], float | None]) -> Metric:
        """What goes up and down; of rows without a value nothing is said."""
        family = GaugeMetricFamily(name, text, labels=["service", *rows.labels])
        return self._filled(family, rows, value)

    def counter(self, name: str, text: str, rows: _Rows[T], value: Callable[[T], float]) -> Metric:
        """What only goes up."""
        return self._filled(CounterMetricFamily(name, text, labels=["service", *rows.labels]), rows, value)

    def number(self, name: str, text: str, value: float) -> Metric:
        """A gauge without labels of its own."""
        return self.gauge(name, text, _Rows((), [((), value)]), float)

    def histogram(self, name: str, text: str, rows: _Rows[T], value: Callable[[T], Histogram]) -> Metric:
        """How many took up to how long."""
        family = HistogramMetricFamily(name, text, labels=["service", *rows.labels])
        bounds = ["+Inf" if math.isinf(bound) else str(bound) for bound in SECONDS_BUCKETS]
        for labels, one in rows.rows:
            found = value(one)
            buckets = list(zip(bounds, map(float, accumulate(found.counts)), strict=True))
            family.add_metric(self._labels(labels), buckets, found.seconds)
        return family

    def _filled(
        self, family: GaugeMetricFamily | CounterMetricFamily, rows: _Rows[T], value: Callable[[T], float | None]
    ) -> Metric:
        for labels, one in rows.rows:
            if (found := value(one)) is not None:
                family.add_metric(self._labels(labels), found)
        return family

    def _labels(self, found: Sequence[str]) -> list[str]:
        # Names of tasks and queues are what anybody has written into Redis.
        return [_harmless(one) for one in (self._service, *found)]


def families_of(figures: Figures | None, service: str) -> list[Metric]:
    """All metrics.

    Args:
        figures: what was read; None: Redis cannot be read, which is the only thing that is said then.
        service: the prefix of the service's keys.
    """
    make = Families(service)
    text = "1 where Redis could be read; else 0, and nothing else is said."
    up = make.number("kiqstart_redis_up", text, figures is not None)
    if figures is None:
        return [up]
    return [
        up,
        *_of_queues(make, figures),
        *_of_workers(make, figures),
        *_of_tasks(make, figures.tasks),
        *_of_schedules(make, figures),
        *_of_policies(make, figures.policies),
    ]


def _of_queues(make: Families, figures: Figures) -> list[Metric]:
    counts, queues = figures.counts, _Rows(["queue"], [((one.name,), one) for one in figures.queues])
    pauses = [((one.kind.value, one.name, _where(one)), 1.0) for one in figures.pauses]
    pauses += [(("schedule", one.definition.name, ""), 1.0) for one in figures.schedules.table if one.is_paused]
    return [
        make.gauge("kiqstart_tasks_waiting", "Tasks that no worker has yet.", queues, lambda one: one.waiting),
        make.gauge("kiqstart_tasks_running", "Tasks in workers' hands.", queues, lambda one: one.running),
        make.gauge(
            "kiqstart_queue_oldest_age_seconds",
            "Since the message was put into the queue that waits longest; 0 where none waits.",
            queues,
            lambda one: max(one.oldest_seconds or 0.0, 0.0),
        ),
        make.gauge("kiqstart_queue_workers", "Workers that live and take the queue.", queues, lambda one: one.workers),
        make.number(
            "kiqstart_tasks_delayed", "Tasks that are due later, retries included, of all queues.", counts.delayed
        ),
        make.number("kiqstart_dead_letters", "Messages that could not be run and are kept.", counts.dead_letters),
        make.counter(
            "kiqstart_dead_letters_dropped_total",
            "Dead letters that were dropped since they were too old or too many.",
            _Rows((), [((), counts.dropped)]),
            float,
        ),
        make.gauge(
            "kiqstart_paused",
            "1 for each queue, task and schedule that is paused, and for calls of a task, which `where` names.",
            _Rows(["kind", "name", "where"], pauses),
            float,
        ),
    ]


def _where(pause: Pause) -> str:
    return ", ".join(f"{name}={text}" for name, text in sorted(pause.where.items()))


def _of_workers(make: Families, figures: Figures) -> list[Metric]:
    workers, labels = {one.name: one for one in figures.workers}, ["worker", "host"]
    loads = _Rows(labels, [((one.worker, workers[one.worker].host), one) for one in figures.loads])
    return [
        make.number("kiqstart_workers", "Worker processes that live.", figures.counts.workers),
        make.gauge(
            "kiqstart_worker_slots",
            "Tasks that a worker may run at once; +Inf for any number.",
            loads,
            lambda one: workers[one.worker].slots or math.inf,
        ),
        make.gauge("kiqstart_worker_slots_used", "Tasks that a worker has in its slots.", loads, lambda one: one.used),
        make.gauge(
            "kiqstart_worker_loop_lag_seconds",
            "The longest that a worker's event loop has let others wait in its last 15 seconds.",
            loads,
            lambda one: one.loop_lag,
        ),
        make.gauge(
            "kiqstart_worker_lost_timestamp_seconds",
            "When a worker was found dead, of those of the last 24 hours.",
            _Rows(labels, [((one.name, one.host), one.lost.timestamp()) for one in figures.lost]),
            float,
        ),
    ]


def _of_tasks(make: Families, stats: Sequence[TaskStats]) -> list[Metric]:
    tasks = _Rows(["task"], [((one.task,), one) for one in stats])
    ended = [((one.task, outcome.value), one.ended.get(outcome, 0)) for one in stats for outcome in Outcome]
    return [
        make.counter(
            "kiqstart_tasks_sent_total",
            "Messages of tasks that programs have sent; retries and what schedules send are not among them.",
            tasks,
            lambda one: one.sent,
        ),
        make.counter("kiqstart_tasks_started_total", "Runs of tasks that began.", tasks, lambda one: one.started),
        make.counter(
            "kiqstart_tasks_ended_total",
            "Runs of tasks that ended, by how: a task that is retried has several.",
            _Rows(["task", "outcome"], ended),
            float,
        ),
        make.histogram("kiqstart_task_run_seconds", "How long a task's function took.", tasks, lambda one: one.run),
        make.histogram(
            "kiqstart_task_wait_seconds",
            "How long a message was in its queue before a worker began with it.",
            tasks,
            lambda one: one.wait,
        ),
    ]


def _of_schedules(make: Families, figures: Figures) -> list[Metric]:
    found, stats, age = figures.schedules, figures.schedule_stats, figures.schedules.heartbeats.seconds_since_any
    states = {"active": found.active, "paused": found.paused, "unreadable": len(found.unreadable)}
    due = [((one.definition.name,), one.due.timestamp()) for one in found.table if one.due is not None]
    names = sorted({*stats.outcomes, *(one.definition.name for one in found.table)})
    times = [((name, one.value), stats.outcomes.get(name, {}).get(one, 0)) for name in names for one in DueOutcome]
    return [
        make.number("kiqstart_schedulers", "Schedulers that live.", found.heartbeats.living),
        make.number(
            "kiqstart_scheduler_last_poll_age_seconds",
            "Seconds since any scheduler last polled for what is due; +Inf where none is known.",
            math.inf if age is None else age,
        ),
        make.number(
            "kiqstart_schedules_overdue_seconds",
            "Seconds by which the most overdue schedule is late.",
            found.seconds_overdue,
        ),
        make.gauge(
            "kiqstart_schedules",
            "Schedules, those included that were added at run time.",
            _Rows(["state"], [((state,), count) for state, count in states.items()]),
            float,
        ),
        make.gauge(
            "kiqstart_schedule_next_due_timestamp_seconds",
            "When each schedule of the table is due next, unless it is paused.",
            _Rows(["schedule"], due),
            float,
        ),
        make.counter(
            "kiqstart_schedule_times_total",
            "Times at which schedules were due, by what became of them; '' for schedules that were added at run time.",
            _Rows(["schedule", "outcome"], times),
            float,
        ),
        make.histogram(
            "kiqstart_schedule_lateness_seconds",
            "By how much what schedulers have sent was late.",
            _Rows((), [((), stats)]),
            lambda one: one.lateness,
        ),
    ]


def _of_policies(make: Families, stats: Sequence[PolicyStats]) -> list[Metric]:
    policies = _Rows(["policy"], [((one.policy,), one) for one in stats])
    runs = [((one.policy, stopped), count) for one in stats for stopped, count in one.runs.items()]
    return [
        make.counter(
            "kiqstart_retention_rows_total",
            "Rows that clean-ups have deleted, archived or updated.",
            policies,
            lambda one: one.rows,
        ),
        make.counter(
            "kiqstart_retention_batches_total",
            "Batches of clean-ups, each a transaction.",
            policies,
            lambda one: one.batches,
        ),
        make.counter(
            "kiqstart_retention_batch_seconds_total",
            "Seconds that these batches took.",
            policies,
            lambda one: one.seconds,
        ),
        make.counter(
            "kiqstart_retention_runs_total",
            "Runs of clean-ups that ended, by why: `end` where all rows were gone through.",
            _Rows(["policy", "stopped"], runs),
            float,
        ),
        make.gauge(
            "kiqstart_retention_backlog_rows",
            "Rows that were left to go after a policy's latest batch, by estimate.",
            policies,
            lambda one: one.backlog,
        ),
        make.gauge(
            "kiqstart_retention_last_success_timestamp_seconds",
            "When a clean-up last went through all rows of a policy; 0 where none is known to have.",
            policies,
            lambda one: one.last_success,
        ),
    ]


def _harmless(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))
