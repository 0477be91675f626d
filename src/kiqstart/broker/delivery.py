"""A message in a worker's hands."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from taskiq import TaskiqMessage

from kiqstart.broker.redis_text import whole_number
from kiqstart.observability.kept_lines import KeptLines
from kiqstart.tasks.messages import send_of


class DeadLetterReason(StrEnum):
    """Why a message is a dead letter."""

    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"
    TOO_LARGE = "too-large"
    UNKNOWN_TASK = "unknown-task"
    INVALID_ARGUMENTS = "invalid-arguments"
    WORKER_LOST = "worker-lost"
    RETRIES_EXHAUSTED = "retries-exhausted"
    NOT_ACKNOWLEDGED = "not-acknowledged"
    MIDDLEWARE_FAILED = "middleware-failed"


@dataclass(frozen=True, kw_only=True)
class Done:
    """The delivery has ended, and the task with it."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """The task is sent again.

    Args:
        message: the message of its next try.
        delay: seconds until then.
        is_first: whether it then comes before what waits already.
        send: where the task has sent itself, which send of its id that is.
    """

    message: bytes
    delay: float = 0.0
    is_first: bool = False
    send: str = ""


@dataclass(frozen=True, kw_only=True)
class Dead:
    """The message becomes a dead letter.

    Args:
        reason: why.
        detail: a traceback or a sentence.
        message: what is sent when the dead letter is tried again.
    """

    reason: DeadLetterReason
    detail: str
    message: bytes


@dataclass(frozen=True, kw_only=True)
class Left:
    """The message is left to workers of other versions.

    Args:
        message: as it came.
        task_name: its task's.
        tried: the shapes of that task which do not take its arguments, as `call_shape` gives them.
        held_by: the field of the pause of such calls that holds it; '' where none does.
    """

    message: bytes
    task_name: str
    tried: Sequence[str]
    held_by: str = ""


Outcome = Done | Again | Dead | Left
DONE: Final = Done()


# The delivery whose task runs here, where kiqstart's receiver runs it.
current_delivery: ContextVar["Delivery | None"] = ContextVar("current_delivery", default=None)


@dataclass(kw_only=True, eq=False, slots=True)
class Delivery:
    """One entry of a stream while it is with this worker.

    `deliveries` says with how many workers it has gone down before this one. `is_lost` says that it is another
    worker's by now: nothing that it does here may have an effect. `is_occupying` says that it has a part of its
    worker's capacity, until it `has_run` and is to be settled. `is_early` says that it was acknowledged before its
    result was there, so that nobody runs it again; `is_saved` that the result is laid by, or that there is none, and
    `has_result` which. `is_cut` says that a hook after its run was cut off, `has_failed` that its result is an error,
    `problem` is the text of what its run has raised, and `error` that itself until it is logged; `lines` are what it
    has logged. `is_unanswered` says that Redis may have settled it and only the answer was lost. At `allowed_at` it
    was certain that it may run here. It `began_at` a time, and its function took so many `seconds`; `counts` are those
    of its task in this worker, once it is started; `progress` is what it has reported last: done, total and a text.
    `read` is its message where that was read already to see whether it was cancelled. `cancelled_until` says until
    when the mark is kept by which it was cancelled as it ran, and so which cancellation that was. `weight` is the
    memory that its message takes, about, in bytes, and its result while that waits for Redis.
    """

    queue: str
    stream: str
    entry: str
    data: bytes
    fields: Mapping[str, str]
    deliveries: int
    worker: str
    epoch: str
    is_suspect: bool
    weight: int = 0
    is_well_formed: bool = True
    is_started: bool = False
    is_settled: bool = False
    is_lost: bool = False
    is_cancelled: bool = False
    cancelled_until: float | None = None
    is_occupying: bool = True
    is_early: bool = False
    has_run: bool = False
    is_saved: bool = False
    has_result: bool = False
    is_cut: bool = False
    has_failed: bool = False
    is_unanswered: bool = False
    problem: str = ""
    error: BaseException | None = None
    lines: KeptLines | None = None
    allowed_at: float = float("-inf")
    began_at: float | None = None
    seconds: float = 0.0
    counts: list[int] | None = None
    progress: tuple[float, float | None, str] | None = None
    read: TaskiqMessage | None = None
    message: TaskiqMessage | None = None
    outcome: Outcome = DONE
    result: bytes = b""
    runner: asyncio.Task[None] | None = None
    hook: asyncio.Timeout | None = None
    settling_since: float | None = None

    def interrupt(self) -> None:
        """Cut off what runs of it here: its function, or the middleware's hook after that."""
        if self.runner is not None and not self.runner.done():
            self.runner.cancel()
        elif self.hook is not None and not self.is_settled:
            with suppress(RuntimeError):  # the hook has ended
                self.hook.reschedule(asyncio.get_running_loop().time())
                self.is_cut = True

    @property
    def mark(self) -> str:
        """What names this delivery among the cancelled ones."""
        return mark_of(self.stream, self.entry)

    @property
    def is_in_function(self) -> bool:
        """Whether its function runs, or a middleware's hook before it."""
        return self.began_at is not None and not self.has_run

    @property
    def was_left(self) -> bool:
        """Whether other workers have left it before."""
        return "left" in self.fields

    @property
    def may_be_left(self) -> bool:
        """Whether it may be left to other workers: not where none may take it any more."""
        return self.fields.get("left") != "over"

    @property
    def first(self) -> int:
        """When it was first delivered or sent, in milliseconds of Redis' clock."""
        return whole_number(self.fields.get("first"), int(self.entry.partition("-")[0]))

    @property
    def send(self) -> str:
        """Which send of its id it is; '' for an id that no other task has had."""
        return send_of(self.message) if self.message is not None and self.message.labels else ""

    @property
    def task_name(self) -> str:
        """The task's name; '' for what is no message."""
        return self.message.task_name if self.message is not None else ""

    @property
    def task_id(self) -> str:
        """The task's id; '' for what is no message."""
        return self.message.task_id if self.message is not None else self.fields.get("task", "")


def mark_of(stream: str, entry: str) -> str:
    """What names the delivery of an entry, as library.lua's `mark_of` has it."""
    return f"{entry}@{stream}"


def interrupt_all(deliveries: Iterable[Delivery]) -> None:
    """Cut off what runs of deliveries here."""
    for delivery in deliveries:
        delivery.interrupt()
