"""Runs of retention policies in words."""

from kiqstart.retention.history import PastRun


def state_of_run(run: PastRun) -> str:
    """`running`, `superseded` by a later run, `interrupted`, or why it ended."""
    if run.is_running:
        return "running"
    if run.is_superseded:
        return "superseded"
    return "interrupted" if run.stopped is None else run.stopped.value
