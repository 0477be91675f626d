"""Spans of sends."""

from time import time_ns

from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context
from taskiq import TaskiqMessage

from kiqstart.broker.tracing.attributes import MESSAGE_COUNT, MESSAGE_ID, bounded
from kiqstart.broker.tracing.carried_context import carry


class CurrentSend:
    """A send that happens within the current span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def carry(self, message: TaskiqMessage) -> TaskiqMessage:
        """Let a message carry the span to its run."""
        return carry(message)

    def sent(self, task_id: str, *, is_duplicate: bool = False) -> None:
        """Note what was sent; of a duplicate, the task that is there in its place."""
        self._span.set_attribute("kiqstart.deduplicated_to" if is_duplicate else MESSAGE_ID, bounded(task_id))

    def sent_many(self, count: int) -> None:
        """Note how many were sent."""
        self._span.set_attribute(MESSAGE_COUNT, count)


class ScheduledSend:
    """A send of a schedule, whose message is made some time before, or in vain."""

    def __init__(self, span: Span, began_ns: int) -> None:
        self._span = span
        self._began_ns = began_ns

    def carry(self, message: TaskiqMessage) -> TaskiqMessage:
        """Let the message carry the span to its run."""
        return carry(message, set_span_in_context(self._span, Context()))

    def sent(self) -> None:
        """It was sent."""
        self._span.end(max(time_ns(), self._began_ns))
