"""What the log says of the runs of any broker's tasks."""

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from taskiq import NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.receiver.receiver import logger as taskiq_logger

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.run_lines import message_fields
from kiqstart.broker.run_stats import Outcome
from kiqstart.observability.run_log import log_end, log_start
from kiqstart.observability.task_fields import bind_to_structlog, current_run, unbind_from_structlog

# What taskiq's own receiver says of each run.
_TASKIQS_LINES: Final = ("Executing task", "Exception found while executing")
# The whole message, its arguments included.
_ARGUMENTS: Final = "Received message: "


@dataclass(slots=True, eq=False)
class _MessageRun:
    """A run, and what there was before it: in a test it may be in the midst of another one."""

    message: TaskiqMessage
    outer: "_MessageRun | None"
    error: BaseException | None = None

    @property
    def task_name(self) -> str:
        return self.message.task_name

    @property
    def task_id(self) -> str:
        return self.message.task_id


_run: ContextVar[_MessageRun | None] = ContextVar("message_run", default=None)


class _WithoutTaskiqsLines(logging.Filter):
    """Leaves out taskiq's own lines of a run that has its lines here, and what shows arguments."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not (text.startswith(_ARGUMENTS) or (text.startswith(_TASKIQS_LINES) and _run.get() is not None))


_FILTER: Final = _WithoutTaskiqsLines()


class TaskLogMiddleware(TaskiqMiddleware):
    """Logs how each run ends, and puts the task on every line that is logged meanwhile, for any broker of taskiq.

    A `StreamBroker` needs none: its receiver does that, and knows more.
    """

    def __init__(self) -> None:
        super().__init__()
        taskiq_logger.addFilter(_FILTER)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Say that the run starts."""
        if isinstance(current_run.get(), Delivery):
            return message
        run = _MessageRun(message, _run.get())
        _run.set(run)
        current_run.set(run)
        bind_to_structlog(run)
        log_start(run, message_fields(message))
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:  # noqa: ARG002  # taskiq's hook
        """Keep the error: another middleware may put a retry in its place."""
        run = _run.get()
        if run is not None and not isinstance(exception, NoResultError):
            run.error = exception

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[object]) -> None:
        """Say how it ended."""
        run = _run.get()
        if run is None:
            return
        outcome = Outcome.RETRIED if isinstance(result.error, NoResultError) else Outcome.FAILED
        ended = {"outcome": outcome.value if result.is_err else "succeeded", "seconds": result.execution_time}
        log_end(run, {**message_fields(message), **ended}, error=run.error)
        # What was sent in place goes on here after its task.
        run.error = None
        _run.set(run.outer)
        current_run.set(run.outer)
        if run.outer is None:
            unbind_from_structlog()
        else:
            bind_to_structlog(run.outer)
