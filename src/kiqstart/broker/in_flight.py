"""All messages that are in a worker's hands."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from taskiq import TaskiqMessage

from kiqstart.broker.delivery import DONE, Delivery
from kiqstart.clock import local_time
from kiqstart.tasks.sizes import SMALL

# Of which it is known that they were given to others while a receiver still ran them.
_MOST_LOST: Final = 1000


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

    def in_control(self, loop: asyncio.AbstractEventLoop) -> Delivery | None:
        """The one whose function has control of the event loop; None if none has, or only through a task of its own."""
        current = asyncio.current_task(loop)
        return next((one for one in self.all() if current is not None and one.runner is current), None)

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
