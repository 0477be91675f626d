"""Runs of retention policies in words."""

from kiqstart.retention.history import PastRun


def state_of_run(run: PastRun) -> str:
    """`running`, `gone on with` by a later run, `interrupted`, or why it ended."""
    if run.is_running:
        return "running"
    if run.is_taken_on:
        return "gone on with"
    return "interrupted" if run.stopped is None else run.stopped.value
