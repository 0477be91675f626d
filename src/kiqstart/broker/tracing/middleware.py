"""The middleware that traces."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from typing import Final

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, TracerProvider, get_tracer, get_tracer_provider, set_span_in_context
from opentelemetry.util.types import AttributeValue
from taskiq import NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult

from kiqstart.broker.delivery import Delivery, current_delivery
from kiqstart.broker.run_lines import INTERRUPTED, how_it_ended, message_fields
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.tracing.attributes import MESSAGE_COUNT, MESSAGE_ID, OUTCOME, attributes_of, bounded
from kiqstart.broker.tracing.carried_context import PREVIOUS_TRY_LABEL, carried, carry, forget, links_of, name_try
from kiqstart.observability.tracing import TRACER_KEY, record_error
from kiqstart.tasks.results.errors import TaskCancelledError

_SEND: Final = "send"
_PROCESS: Final = "process"
# What a backend that is away may hold up the end of a worker.
_SECONDS_TO_FLUSH: Final = 3.0


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


@dataclass(kw_only=True, eq=False)
class _Run:
    """A run that is traced."""

    span: Span
    token: "Token[Context]"
    delivery: Delivery | None
    outcome: str = INTERRUPTED

    def end(self, _: "asyncio.Task[object] | None" = None) -> None:
        """End the span, once."""
        if self.span.is_recording():
            self.span.set_attribute(OUTCOME, self.outcome if self.delivery is None else how_it_ended(self.delivery))
            self.span.end()


class TracingMiddleware(TaskiqMiddleware):
    """Traces sends and runs with OpenTelemetry, as `TASKS_TRACING=true` has `create_broker` do it.

    For brokers of kiqstart, and for any other one whose tasks are made by `register_task`. The package's docstring says
    which spans there are and how they belong together.

    Args:
        tracer_provider: makes the spans; None is OpenTelemetry's global one.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        super().__init__()
        self._provider = tracer_provider
        self._tracer = get_tracer("kiqstart", tracer_provider=tracer_provider)
        self._run: ContextVar[_Run | None] = ContextVar("traced_run", default=None)

    async def shutdown(self) -> None:
        """Let no span be lost that has ended: a worker process may end before the provider's own hook is called."""
        flush = getattr(self._provider or get_tracer_provider(), "force_flush", None)
        if flush is not None:
            await asyncio.to_thread(flush, int(_SECONDS_TO_FLUSH * 1000))

    @contextmanager
    def sending(self, task_name: str, queue: str) -> Generator[CurrentSend]:
        """The span of what is sent in the block; an error that leaves the block is noted in it."""
        with self._tracer.start_as_current_span(
            f"{_SEND} {bounded(task_name)}",
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(_SEND, task_name, queue),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield CurrentSend(span)
            except Exception as error:
                record_error(span, error)
                raise

    def scheduled(self, task_id: str, task_name: str, queue: str, due: datetime) -> ScheduledSend:
        """The span of what a schedule sends; it belongs to no other one."""
        began_ns = max(time_ns(), int(due.timestamp() * 1e9))
        attributes = attributes_of(_SEND, task_name, queue)
        attributes |= {MESSAGE_ID: bounded(task_id), "kiqstart.schedule": bounded(task_id.rpartition("@")[0])}
        span = self._tracer.start_span(
            f"{_SEND} {bounded(task_name)}", Context(), SpanKind.PRODUCER, attributes, start_time=began_ns
        )
        return ScheduledSend(span, began_ns)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Begin the span of a run, in the context that the message carries."""
        parent, delivery = carried(message.labels), current_delivery.get()
        span = self._tracer.start_span(
            f"{_PROCESS} {bounded(message.task_name)}",
            parent,
            SpanKind.CONSUMER,
            self._attributes(message, delivery),
            links_of(message.labels),
        )
        inner = contexts.set_value(TRACER_KEY, self._tracer, set_span_in_context(span, parent))
        run = _Run(span=span, token=contexts.attach(inner), delivery=delivery)
        self._run.set(run)
        name_try(message, span.get_span_context())
        runner = asyncio.current_task()
        if runner is not None:
            # A run that is cut off is told to no hook.
            runner.add_done_callback(run.end)
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:  # noqa: ARG002  # taskiq's hook
        """Note what the run has raised."""
        run = self._run.get()
        if run is not None and not isinstance(exception, NoResultError | TaskCancelledError):
            record_error(run.span, exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[object]) -> None:
        """End the span, unless it is of a delivery, whose end is still to come."""
        forget(message, PREVIOUS_TRY_LABEL)
        run = self._run.get()
        if run is None or run.delivery is not None:
            return
        failed = Outcome.RETRIED if isinstance(result.error, NoResultError) else Outcome.FAILED
        run.outcome = (failed if result.is_err else Outcome.SUCCEEDED).value
        run.end()
        # What was sent in place goes on here after its task.
        if (runner := asyncio.current_task()) is not None:
            runner.remove_done_callback(run.end)
        self._run.set(None)
        contexts.detach(run.token)

    def _attributes(self, message: TaskiqMessage, delivery: Delivery | None) -> dict[str, AttributeValue]:
        fields = message_fields(message)
        queue = str(fields["queue"]) if delivery is None else delivery.queue
        attributes = attributes_of(_PROCESS, message.task_name, queue)
        attributes |= {MESSAGE_ID: bounded(message.task_id), "kiqstart.try": int(str(fields["try"]))}
        if "schedule" in fields:
            attributes["kiqstart.schedule"] = bounded(str(fields["schedule"]))
        if delivery is not None:
            attributes |= {"messaging.client.id": delivery.worker, "kiqstart.worker_crashes": delivery.deliveries}
        return attributes
