"""A message in a worker's hands, and all that this worker has."""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from taskiq import TaskiqMessage

from kiqstart.broker.redis_text import whole_number
from kiqstart.observability.kept_lines import KeptLines
from kiqstart.tasks.messages import send_of
from kiqstart.tasks.sizes import SMALL

# Of which it is known that they were given to others while a receiver still ran them.
_MOST_LOST: Final = 1000
# CLOCK_BOOTTIME goes on while the machine sleeps; where there is none, the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def local_time() -> float:
    """Seconds of this machine's life, by a clock that nobody sets and that does not stop with the process."""
    return time.clock_gettime(_CLOCK)


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


def _without_contents(delivery: Delivery) -> Delivery:
    """The same, but for what may take much memory."""
    fields = {**delivery.fields, "task": delivery.task_id}
    return replace(
        delivery,
        data=b"",
        result=b"",
        read=None,
        message=None,
        runner=None,
        error=None,
        lines=None,
        outcome=DONE,
        fields=fields,
    )


class InFlightDeliveries:
    """All deliveries of this worker that are not settled. The lease's thread looks at them too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_entry: dict[tuple[str, str], Delivery] = {}
        self._by_task: dict[str, Delivery] = {}
        self._lost_by_task: dict[str, Delivery] = {}
        self._refused: set[tuple[str, str]] = set()
        self._weight = 0
        self._suspects = 0

    def __len__(self) -> int:
        return len(self._by_entry)

    @property
    def weight(self) -> int:
        """Bytes of memory that messages, and results that wait for Redis, take, about."""
        return self._weight

    @property
    def has_suspects(self) -> bool:
        """Whether one of them is a suspect."""
        return self._suspects > 0

    def take(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Take over what was read, but for what the lease's thread has given back in the meantime."""
        with self._lock:
            taken = [one for one in deliveries if (one.stream, one.entry) not in self._refused]
            for one in taken:
                key = one.stream, one.entry
                if key in self._by_entry:
                    self._forget(key)
                self._by_entry[key] = one
                self._weight += one.weight
                self._suspects += one.is_suspect
            return taken

    def name(self, delivery: Delivery, message: TaskiqMessage) -> None:
        """Note which task a delivery is."""
        delivery.message = message
        with self._lock:
            self._by_task[message.task_id] = delivery
            self._lost_by_task.pop(message.task_id, None)

    def begin(self, delivery: Delivery) -> bool:
        """Claim a delivery for its run; False where the lease's thread has given it back, or it was lost."""
        with self._lock:
            if delivery.is_lost:
                return False
            delivery.is_started = True
            return True

    def settle(self, delivery: Delivery) -> None:
        """Note that a delivery is to be settled, and that its result, unless it is small, waits for that in memory."""
        delivery.settling_since = local_time()
        size = len(delivery.result)
        if size < SMALL:
            return
        with self._lock:
            delivery.weight += size
            if self._by_entry.get((delivery.stream, delivery.entry)) is delivery:
                self._weight += size

    def of_task(self, task_id: str) -> Delivery | None:
        """The delivery of a task that this worker has."""
        return self._by_task.get(task_id)

    def lost_of_task(self, task_id: str) -> Delivery | None:
        """The delivery of a task that this worker had, and others have by now; a receiver may still run it here."""
        return self._lost_by_task.get(task_id)

    def discard(self, *deliveries: Delivery) -> None:
        """Forget deliveries that are settled, given back or lost."""
        with self._lock:
            for delivery in deliveries:
                self._forget((delivery.stream, delivery.entry))
                task_id = delivery.task_id
                if self._by_task.get(task_id) is delivery:
                    del self._by_task[task_id]
                    if delivery.is_lost and not delivery.is_settled:
                        self._lost_by_task[task_id] = _without_contents(delivery)
            while len(self._lost_by_task) > _MOST_LOST:
                del self._lost_by_task[next(iter(self._lost_by_task))]

    def _forget(self, entry: tuple[str, str]) -> None:
        delivery = self._by_entry.pop(entry, None)
        if delivery is not None:
            self._weight -= delivery.weight
            self._suspects -= delivery.is_suspect

    def withdraw_waiting(self) -> list[Delivery]:
        """Claim all that has not begun, to be given back; from now on it counts as lost here."""
        with self._lock:
            waiting = [
                one
                for one in self._by_entry.values()
                if not (one.is_started or one.is_lost) and one.settling_since is None
            ]
            for delivery in waiting:
                delivery.is_lost = True
            return waiting

    def all(self) -> list[Delivery]:
        """A copy of what is in hand."""
        with self._lock:
            return list(self._by_entry.values())

    def unknown_entries(self, stream: str, entries: Iterable[str]) -> list[str]:
        """Which entries of a stream this worker was given without having seen them. From now on it refuses them."""
        with self._lock:
            unknown = [entry for entry in entries if (stream, entry) not in self._by_entry]
            self._refused.update((stream, entry) for entry in unknown)
            return unknown
