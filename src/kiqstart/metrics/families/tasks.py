"""Of tasks: how many were sent, began and ended, and how long they took."""

from collections.abc import Sequence

from prometheus_client import Metric

from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.task_stats import TaskStats
from kiqstart.metrics.families.maker import Families


def families_of_tasks(make: Families, tasks: Sequence[TaskStats]) -> list[Metric]:
    """Those of each task."""
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
