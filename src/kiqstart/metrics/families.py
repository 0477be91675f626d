"""The figures under the names and types that Prometheus knows; docs/metrics.md has them all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from kiqstart.broker.acts import RecordedAct
from kiqstart.broker.fleet import WorkerView
from kiqstart.broker.pauses import Pause
from kiqstart.broker.run_stats import SECONDS_BUCKETS, Histogram, Outcome, TaskStats
from kiqstart.metrics.figures import Figures
from kiqstart.metrics.policy_stats import PolicyStats
from kiqstart.observability.terminal_escape import escape
from kiqstart.scheduler.scheduler_stats import DueOutcome

_NO_CHECKS: Final[Mapping[str, bool]] = MappingProxyType({})
Values = Iterable[tuple[Mapping[str, str], float]]
"""Labels, and the value that they have."""


class Families:
    """Makes metrics, each with the service's label, which tells services apart that share a collector.

    Args:
        service: the prefix of the service's keys.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def gauge(self, name: str, description: str, labels: Sequence[str], values: Values) -> Metric:
        """What goes up and down."""
        family = GaugeMetricFamily(name, description, labels=["service", *labels])
        for found, value in values:
            family.add_metric(self._labels(labels, found), value)
        return family

    def counter(self, name: str, description: str, labels: Sequence[str], values: Values) -> Metric:
        """What only goes up."""
        family = CounterMetricFamily(name, description, labels=["service", *labels])
        for found, value in values:
            family.add_metric(self._labels(labels, found), value)
        return family

    def histogram(
        self, name: str, description: str, labels: Sequence[str], values: Iterable[tuple[Mapping[str, str], Histogram]]
    ) -> Metric:
        """How many took up to how long."""
        family = HistogramMetricFamily(name, description, labels=["service", *labels])
        bounds = ["+Inf" if math.isinf(bound) else str(bound) for bound in SECONDS_BUCKETS]
        for found, value in values:
            buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
            family.add_metric(self._labels(labels, found), buckets, value.seconds)
        return family

    def _labels(self, names: Sequence[str], found: Mapping[str, str]) -> list[str]:
        # Names of tasks and queues are what anybody has written into Redis.
        return [_harmless(one) for one in (self._service, *(found[name] for name in names))]


def families_of(figures: Figures | None, service: str, checks: Mapping[str, bool] = _NO_CHECKS) -> list[Metric]:
    """All metrics.

    Args:
        figures: what was read; None: Redis cannot be read, which is the only thing that is said then.
        service: the prefix of the service's keys.
        checks: what was looked at in the application's database, and whether all was well.
    """
    make = Families(service)
    of_database = make.gauge(
        "kiqstart_check_ok",
        "1 where all is well with what was looked at in PostgreSQL; else 0, and `kiqstart check` says why.",
        ["check"],
        [({"check": name}, is_ok) for name, is_ok in checks.items()],
    )
    up = make.gauge(
        "kiqstart_redis_up",
        "1 where Redis could be read; else 0, and nothing else is said but what PostgreSQL has.",
        (),
        [({}, figures is not None)],
    )
    if figures is None:
        return [up, of_database]
    return [
        up,
        of_database,
        *_of_queues(make, figures),
        *_of_workers(make, figures),
        *_of_tasks(make, figures.tasks),
        *_of_schedules(make, figures),
        *_of_policies(make, figures.policies),
        _of_acts(make, figures.acts),
    ]


def _of_queues(make: Families, figures: Figures) -> list[Metric]:
    queues = [(one, {"queue": one.name}) for one in figures.queues]
    counts = figures.counts
    pauses = [({"kind": one.kind.value, "name": one.name, "where": _where(one)}, 1.0) for one in figures.pauses]
    schedules = [one.definition.name for one in figures.schedules.table if one.is_paused]
    pauses += [({"kind": "schedule", "name": name, "where": ""}, 1.0) for name in schedules]
    return [
        make.gauge(
            "kiqstart_tasks_waiting",
            "Tasks that no worker has yet.",
            ["queue"],
            [(labels, one.waiting) for one, labels in queues],
        ),
        make.gauge(
            "kiqstart_tasks_running",
            "Tasks in workers' hands.",
            ["queue"],
            [(labels, one.running) for one, labels in queues],
        ),
        make.gauge(
            "kiqstart_queue_oldest_age_seconds",
            "Since the message was put into the queue that waits longest; 0 where none waits.",
            ["queue"],
            [(labels, max(one.oldest_seconds or 0.0, 0.0)) for one, labels in queues],
        ),
        make.gauge(
            "kiqstart_queue_workers",
            "Workers that live and take the queue.",
            ["queue"],
            [(labels, one.workers) for one, labels in queues],
        ),
        make.gauge(
            "kiqstart_tasks_delayed",
            "Tasks that are due later, retries included, of all queues.",
            (),
            [({}, counts.delayed)],
        ),
        make.gauge(
            "kiqstart_dead_letters", "Messages that could not be run and are kept.", (), [({}, counts.dead_letters)]
        ),
        make.counter(
            "kiqstart_dead_letters_dropped_total",
            "Dead letters that were dropped since they were too old or too many.",
            (),
            [({}, counts.dropped)],
        ),
        make.gauge(
            "kiqstart_paused",
            "1 for each queue, task and schedule that is paused, and for calls of a task, which `where` names.",
            ["kind", "name", "where"],
            pauses,
        ),
    ]


def _of_acts(make: Families, acts: Sequence[RecordedAct]) -> Metric:
    # The newest comes first, and so is what an older one does not replace.
    last: dict[tuple[str, str, str], float] = {}
    for one in acts:
        last.setdefault((one.kind, one.by.user, one.by.host), one.at.timestamp())
    return make.gauge(
        "kiqstart_last_act_timestamp_seconds",
        "When somebody last did such an act, of the newest 200; `kiqstart acts` says to what, and why.",
        ["act", "user", "host"],
        [({"act": act, "user": user, "host": host}, at) for (act, user, host), at in last.items()],
    )


def _where(pause: Pause) -> str:
    return ", ".join(f"{name}={text}" for name, text in sorted(pause.where.items()))


def _of_workers(make: Families, figures: Figures) -> list[Metric]:
    # Those that say how busy they are.
    busy = [one for one in figures.workers if one.is_alive and one.slots_used is not None]
    workers = [(one, {"worker": one.name, "host": one.host}) for one in busy]
    labels = ["worker", "host"]
    return [
        make.gauge("kiqstart_workers", "Worker processes that live.", (), [({}, figures.counts.workers)]),
        make.gauge(
            "kiqstart_worker_slots",
            "Tasks that a worker may run at once; +Inf for any number.",
            labels,
            [(found, one.slots or math.inf) for one, found in workers],
        ),
        make.gauge(
            "kiqstart_worker_slots_used",
            "Tasks that a worker has in its slots.",
            labels,
            [(found, one.slots_used or 0) for one, found in workers],
        ),
        make.gauge(
            "kiqstart_worker_loop_lag_seconds",
            "The longest that a worker's event loop has let others wait in its last 15 seconds.",
            labels,
            [(found, one.loop_lag or 0.0) for one, found in workers],
        ),
        make.gauge(
            "kiqstart_task_running_since_timestamp_seconds",
            "When the longest run of a task at a worker began, of those that last a second or longer.",
            ["task", *labels],
            _began_first(figures.workers),
        ),
        make.gauge(
            "kiqstart_worker_lost_timestamp_seconds",
            "When a worker was found dead, of those of the last 24 hours.",
            labels,
            [({"worker": one.name, "host": one.host}, one.lost.timestamp()) for one in figures.lost],
        ),
    ]


def _began_first(workers: Sequence[WorkerView]) -> list[tuple[dict[str, str], float]]:
    # The longest comes first, and so is what a later one does not replace.
    first: dict[tuple[str, str, str], float] = {}
    for one in workers:
        for run in one.running if one.is_alive else ():
            first.setdefault((run.task, one.name, one.host), run.began.timestamp())
    return [({"task": task, "worker": name, "host": host}, began) for (task, name, host), began in first.items()]


def _of_tasks(make: Families, tasks: Sequence[TaskStats]) -> list[Metric]:
    by_task = [(one, {"task": one.task}) for one in tasks]
    return [
        make.counter(
            "kiqstart_tasks_sent_total",
            "Messages of tasks that programs have sent; retries and what schedules send are not among them.",
            ["task"],
            [(labels, one.sent) for one, labels in by_task],
        ),
        make.counter(
            "kiqstart_tasks_started_total",
            "Runs of tasks that began.",
            ["task"],
            [(labels, one.started) for one, labels in by_task],
        ),
        make.counter(
            "kiqstart_tasks_ended_total",
            "Runs of tasks that ended, by how: a task that is retried has several.",
            ["task", "outcome"],
            [
                ({**labels, "outcome": outcome.value}, one.ended.get(outcome, 0))
                for one, labels in by_task
                for outcome in Outcome
            ],
        ),
        make.histogram(
            "kiqstart_task_run_seconds",
            "How long a task's function took.",
            ["task"],
            [(labels, one.run) for one, labels in by_task],
        ),
        make.histogram(
            "kiqstart_task_wait_seconds",
            "How long a message was in its queue before a worker began with it.",
            ["task"],
            [(labels, one.wait) for one, labels in by_task],
        ),
    ]


def _of_schedules(make: Families, figures: Figures) -> list[Metric]:
    found, stats = figures.schedules, figures.schedule_stats
    age = found.heartbeats.seconds_since_any
    states = {"active": found.active, "paused": found.paused, "unreadable": len(found.unreadable)}
    return [
        make.gauge("kiqstart_schedulers", "Schedulers that live.", (), [({}, found.heartbeats.living)]),
        make.gauge(
            "kiqstart_scheduler_last_poll_age_seconds",
            "Seconds since any scheduler last polled for what is due; +Inf where none is known.",
            (),
            [({}, math.inf if age is None else age)],
        ),
        make.gauge(
            "kiqstart_schedules_overdue_seconds",
            "Seconds by which the most overdue schedule is late.",
            (),
            [({}, found.seconds_overdue)],
        ),
        make.gauge(
            "kiqstart_schedules",
            "Schedules, those included that were added at run time.",
            ["state"],
            [({"state": state}, count) for state, count in states.items()],
        ),
        make.gauge(
            "kiqstart_schedule_next_due_timestamp_seconds",
            "When each schedule of the table is due next, unless it is paused.",
            ["schedule"],
            [({"schedule": one.definition.name}, one.due.timestamp()) for one in found.table if one.due is not None],
        ),
        make.counter(
            "kiqstart_schedule_times_total",
            "Times at which schedules were due, by what became of them; '' for schedules that were added at run time.",
            ["schedule", "outcome"],
            [
                ({"schedule": name, "outcome": outcome.value}, stats.outcomes.get(name, {}).get(outcome, 0))
                for name in sorted({*stats.outcomes, *(one.definition.name for one in found.table)})
                for outcome in DueOutcome
            ],
        ),
        make.histogram(
            "kiqstart_schedule_lateness_seconds",
            "By how much what schedulers have sent was late.",
            (),
            [({}, stats.lateness)],
        ),
    ]


def _of_policies(make: Families, policies: Sequence[PolicyStats]) -> list[Metric]:
    by_policy = [(one, {"policy": one.policy}) for one in policies]
    labels = ["policy"]
    return [
        make.counter(
            "kiqstart_retention_rows_total",
            "Rows that clean-ups have deleted, archived or updated.",
            labels,
            [(found, one.rows) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_batches_total",
            "Batches of clean-ups, each a transaction.",
            labels,
            [(found, one.batches) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_batch_seconds_total",
            "Seconds that these batches took.",
            labels,
            [(found, one.seconds) for one, found in by_policy],
        ),
        make.counter(
            "kiqstart_retention_runs_total",
            "Runs of clean-ups that ended, by why: `end` where all rows were gone through.",
            ["policy", "stopped"],
            [({**found, "stopped": stopped}, count) for one, found in by_policy for stopped, count in one.runs.items()],
        ),
        make.gauge(
            "kiqstart_retention_backlog_rows",
            "Rows that were left to go after a policy's latest batch, by estimate.",
            labels,
            [(found, one.backlog) for one, found in by_policy if one.backlog is not None],
        ),
        make.gauge(
            "kiqstart_retention_last_success_timestamp_seconds",
            "When a clean-up last went through all rows of a policy; 0 where none is known to have.",
            labels,
            [(found, one.last_success) for one, found in by_policy],
        ),
    ]


def _harmless(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))
