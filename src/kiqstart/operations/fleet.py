"""Workers in words."""

from typing import Final

from kiqstart.broker.fleet import WorkerView
from kiqstart.operations.schedule_wording import shown_seconds

STUCK: Final = ("blocked", "silent")
"""The states of a worker that does nothing, though nobody has asked it to end."""


def state_of(worker: WorkerView) -> str:
    """`alive`, `ending`, `quarantine`, `blocked` if its event loop does nothing, or `silent` if its lease is over."""
    if not worker.is_alive:
        return "silent"
    if worker.blocked_seconds is not None:
        return "blocked"
    if worker.is_ending:
        return "ending"
    return "quarantine" if worker.runs_suspects else "alive"


def state_of_queue(*, is_paused: bool, waiting: int, workers: int) -> str:
    """`paused`, `unserved` if tasks wait that no worker takes, or `open`."""
    if is_paused:
        return "paused"
    return "unserved" if waiting and not workers else "open"


def said_of_state(worker: WorkerView) -> str:
    """Its state, and for how long it is blocked: `blocked for 12 s`."""
    state = state_of(worker)
    seconds = worker.blocked_seconds
    return f"{state} for {shown_seconds(seconds)}" if state == "blocked" and seconds is not None else state


def said_of_stuck(worker: WorkerView) -> str:
    """What is wrong with one that is stuck, and which of its tasks it is, as far as is known."""
    place = f" on {worker.host}, process {worker.pid}," if worker.host else ""
    if state_of(worker) == "silent":
        return f"{worker.name}{place} has not beaten for {shown_seconds(worker.seconds_since_beat)}"
    return f"the event loop of {worker.name}{place} is {said_of_state(worker)}{_said_of_cause(worker)}"


def _said_of_cause(worker: WorkerView) -> str:
    for one in worker.running:
        if one.is_blocking:
            return f", by {one.task} {one.task_id}"
    if not worker.running:
        return ""
    # The one that runs longest need not be the one that computes.
    others = f" and {len(worker.running) - 1} more" if len(worker.running) > 1 else ""
    return f", while it runs {worker.running[0].task} {worker.running[0].task_id}{others}"
