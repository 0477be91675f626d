"""Schedules and steps as they travel to Redis' scripts and lie in Redis."""

from collections.abc import Iterable

from kiqstart.infrastructure.taskiq.labels import DELAY_LABEL, UNIQUE_LABEL
from kiqstart.infrastructure.taskiq.scheduling.store import Entry, Firing, LastStep, Outcome, StoredSchedule
from kiqstart.infrastructure.taskiq.streams.script import Value


def send_values(firing: Firing) -> list[Value]:
    """Delay in milliseconds, unique key, task and message of what a step sends."""
    message = firing.message
    if message is None:
        return [0, "", "", ""]
    delay = round(float(message.labels.get(DELAY_LABEL, 0)) * 1000)
    return [delay, str(message.labels.get(UNIQUE_LABEL, "")), message.task_id, message.message]


def optional(number: int | None) -> Value:
    """A number, or '' for none."""
    return "" if number is None else number


def flat(entries: Iterable[Entry]) -> list[Value]:
    """Name, definition and time of each entry, one after another."""
    return [value for entry in entries for value in (entry.name, entry.data, optional(entry.due_ms))]


def stored_schedule(
    name: str, data: bytes, due: float | None, last: bytes | None, *, is_paused: bool
) -> StoredSchedule:
    """A schedule of what lies about it in Redis."""
    return StoredSchedule(
        name=name,
        data=data,
        due_ms=None if due is None else round(due),
        is_paused=is_paused,
        last=None if last is None else _last_step(last),
    )


def _last_step(text: bytes) -> LastStep:
    due, done, outcome, length, rest = text.split(b"\n", 4)
    # Ids of tasks may be any text.
    detail, task_id = rest[: int(length)].decode(errors="replace"), rest[int(length) + 1 :].decode(errors="replace")
    return LastStep(
        due_ms=round(float(due)),
        done_ms=round(float(done)),
        task_id=task_id,
        outcome=Outcome(outcome.decode()),
        detail=detail,
    )
