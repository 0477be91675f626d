"""Of queues: what waits, runs, is delayed, dead and paused."""

from prometheus_client import Metric

from kiqstart.broker.pauses import Pause
from kiqstart.metrics.families.maker import Families
from kiqstart.metrics.figures import Figures


def families_of_queues(make: Families, figures: Figures) -> list[Metric]:
    """Those of all queues."""
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


def _where(pause: Pause) -> str:
    return ", ".join(f"{name}={text}" for name, text in sorted(pause.where.items()))
