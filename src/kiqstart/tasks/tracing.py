"""What sends and schedules ask of whoever traces them."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from taskiq import TaskiqMessage


class SendSpan(Protocol):
    """The span of a send."""

    def carry(self, message: TaskiqMessage) -> TaskiqMessage:
        """Let a message carry the span to its run."""
        ...

    def sent(self, task_id: str, *, is_duplicate: bool = False) -> None:
        """Note what was sent; of a duplicate, the task that is there in its place."""

    def sent_many(self, count: int) -> None:
        """Note how many were sent."""


class ScheduledSpan(Protocol):
    """The span of a message that may be sent, or never."""

    def carry(self, message: TaskiqMessage) -> TaskiqMessage:
        """Let the message carry the span to its run."""
        ...

    def sent(self) -> None:
        """It was sent. A span of which that is never said is none."""


@runtime_checkable
class Tracing(Protocol):
    """A middleware that traces. It comes before all others, so its spans have what these do."""

    def sending(self, task_name: str, queue: str) -> AbstractContextManager[SendSpan]:
        """The span of what is sent in the block; an error that leaves the block is noted in it."""
        ...

    def scheduled(self, task_id: str, task_name: str, queue: str, due: datetime) -> ScheduledSpan:
        """The span of what a schedule sends; it belongs to no other one."""
        ...
