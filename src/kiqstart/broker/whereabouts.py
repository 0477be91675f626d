"""Where a task is that has not ended, and what its message says: it waits, is due later, or a worker has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from kiqstart.broker.argument_values import NO_VALUES, ArgumentValues
from kiqstart.broker.message_view import CUT, MessageView, view_of
from kiqstart.broker.redis_text import bounded_time, texts_of, whole_number
from kiqstart.observability.redaction import redact_beginning
from kiqstart.tasks.progress import Progress
from kiqstart.tasks.sealing.secrets import Secrets
from kiqstart.tasks.sizes import MIB

_LONGEST_ARGUMENTS: Final = 2048
"""Characters."""
# Of a larger message, only the beginning is read.
_LARGEST_BYTES: Final = MIB
_BYTES_OF_A_BEGINNING: Final = 16 * 1024


class Place(StrEnum):
    """Where a task is."""

    DELAYED = "delayed"
    WAITING = "waiting"
    RUNNING = "running"
    """A worker has it; it runs, or is about to."""


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where a task is now.

    Args:
        place: where.
        since: when it was put there; of a delayed one, when it is due.
        task_id: None where the message cannot be read.
        task: the task's name; None where the message cannot be read.
        arguments: as the call was written, the first 2,048 characters.
        queue: where it waits, or will wait.
        sent: when it was first sent, or when this try was; None for a delayed one.
        attempt: which try it is, from 1 on.
        crashes: workers that have died while they had it.
        schedule: the schedule that has sent it; None where none has.
        sent_by: the id of the task that has sent it; None where none has.
        worker: the name of the worker that has it; '' where none has.
        host: the worker's.
        pid: the worker's; 0 where none has it, or where it has not said so.
        progress: how far it says it is; None where it does not say so.
        values: of the arguments.
    """

    place: Place
    since: datetime
    task_id: str | None = None
    task: str | None = None
    arguments: str = ""
    queue: str = ""
    sent: datetime | None = None
    attempt: int = 1
    crashes: int = 0
    schedule: str | None = None
    sent_by: str | None = None
    worker: str = ""
    host: str = ""
    pid: int = 0
    progress: Progress | None = None
    values: ArgumentValues = field(default=NO_VALUES, repr=False, compare=False)


def waiting_task(queue: str, entry: bytes, fields: Mapping[bytes, bytes], secrets: Secrets) -> Whereabouts:
    """That of an entry of a queue's stream that nobody has."""
    texts = texts_of({name: value for name, value in fields.items() if name != b"data"})
    view, since = _view(fields.get(b"data", b""), secrets), sent_ms(entry)
    return Whereabouts(
        place=Place.WAITING,
        since=bounded_time(since),
        task_id=view.task_id,
        task=view.task,
        arguments=_bounded(view.arguments),
        queue=queue,
        sent=bounded_time(whole_number(texts.get("first"), since)),
        attempt=_attempt(view.retries),
        crashes=whole_number(texts.get("deliveries"), 0),
        schedule=view.schedule,
        sent_by=view.sent_by,
        values=view.values,
    )


def delayed_task(queue: str, due_ms: float, data: bytes, secrets: Secrets) -> Whereabouts:
    """That of a delayed message."""
    view = _view(data, secrets)
    return Whereabouts(
        place=Place.DELAYED,
        since=bounded_time(due_ms),
        task_id=view.task_id,
        task=view.task,
        arguments=_bounded(view.arguments),
        queue=queue,
        attempt=_attempt(view.retries),
        schedule=view.schedule,
        sent_by=view.sent_by,
        values=view.values,
    )


def sent_ms(entry: bytes) -> int:
    """When an entry was added, in milliseconds of Redis' clock."""
    return int(entry.partition(b"-")[0])


def _view(data: bytes, secrets: Secrets) -> MessageView:
    return view_of(data if len(data) <= _LARGEST_BYTES else data[:_BYTES_OF_A_BEGINNING], secrets)


def _bounded(arguments: str) -> str:
    if len(arguments) <= _LONGEST_ARGUMENTS:
        return arguments
    return redact_beginning(arguments, _LONGEST_ARGUMENTS) + CUT


def _attempt(retries: object) -> int:
    """Which try it is, by a label of whatever type."""
    return whole_number(str(retries), 0) + 1 if isinstance(retries, int | str) else 1
