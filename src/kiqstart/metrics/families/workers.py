"""Of workers: how busy they are, and which were lost."""

import math
from collections.abc import Sequence

from prometheus_client import Metric

from kiqstart.broker.fleet import WorkerView
from kiqstart.metrics.families.maker import Families
from kiqstart.metrics.figures import Figures


def families_of_workers(make: Families, figures: Figures) -> list[Metric]:
    """Those of all workers."""
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
