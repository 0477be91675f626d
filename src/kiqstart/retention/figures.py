"""What clean-ups have done, counted as they go on, by whoever commits a batch: so each is counted once.

A worker adds it to what all workers have counted (`kiqstart.metrics`); in a program that is no worker, nobody takes it.
"""

from time import time

from kiqstart.observability.process_counts import PROCESS_COUNTS
from kiqstart.retention.count_names import BACKLOG, BATCHES, LAST_SUCCESS, MICROSECONDS, ROWS, RUNS, SECTION
from kiqstart.retention.report import RetentionReport, StopReason


def count_batches(policy: str, *, rows: int, batches: int, seconds: float, left: int) -> None:
    """Count what was committed.

    Args:
        policy: its name.
        rows: that were deleted.
        batches: transactions that deleted them.
        seconds: that they took together.
        left: rows of the policy that are still to go, by estimate.
    """
    counts = {ROWS: rows, BATCHES: batches, MICROSECONDS: round(seconds * 1e6)}
    PROCESS_COUNTS.add(SECTION, {f"{policy}\n{what}": count for what, count in counts.items()})
    PROCESS_COUNTS.put(SECTION, f"{policy}\n{BACKLOG}", max(left, 0))


def count_run(report: RetentionReport) -> None:
    """Count a run that has ended."""
    policy = report.policy
    PROCESS_COUNTS.add(SECTION, {f"{policy}\n{RUNS}{report.stopped.value}": 1})
    if report.stopped is StopReason.END:
        PROCESS_COUNTS.put(SECTION, f"{policy}\n{BACKLOG}", report.skipped + report.failed + report.left_alone)
        PROCESS_COUNTS.put(SECTION, f"{policy}\n{LAST_SUCCESS}", int(time()))
