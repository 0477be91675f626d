"""The task that a log line belongs to, as fields of the line.

A receiver says in `current_run` which run it is at. Nothing is made of that until a line is logged: then a filter of a
handler (`TaskLogFilter`) or a processor of structlog (`add_task_fields`) asks for the fields. A filter, and no record
factory: a record that has such fields from the start would refuse a program's own `extra={"task_id": …}`.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Protocol


class TaskRun(Protocol):
    """A run of a task."""

    @property
    def task_name(self) -> str:
        """The task's name."""
        ...

    @property
    def task_id(self) -> str:
        """The task's id."""
        ...


current_run: ContextVar[TaskRun | None] = ContextVar("current_run", default=None)


class TaskLogFilter(logging.Filter):
    """Puts `task_name` and `task_id` on what is logged while a task runs, and `trace_id` and `span_id` if it is traced.

    A filter of a handler, so it holds for the lines of all loggers. A worker gives it to the handlers of the root
    logger when it starts; those of other loggers are given it where they are set up:
    `{"filters": {"task": {"()": "kiqstart.TaskLogFilter"}}}`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass; what it has under these names already stays."""
        for name, value in run_fields().items():
            record.__dict__.setdefault(name, value)
        return True


def add_task_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The same as a processor of structlog, for a program that sets up structlog by itself."""
    for name, value in run_fields().items():
        event.setdefault(name, value)
    return event


def run_fields() -> dict[str, object]:
    """The fields of a line that is logged here and now; none outside of a task."""
    run = current_run.get()
    if run is None:
        return {}
    return {"task_name": run.task_name, "task_id": run.task_id, **_trace_fields()}


def carry_task_fields() -> None:
    """Give the filter to the root logger's handlers."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, TaskLogFilter) for one in handler.filters):
            handler.addFilter(TaskLogFilter())


def bind_to_structlog(run: TaskRun) -> None:
    """Tell structlog's own context, if the program uses structlog: its usual processors show that."""
    if "structlog" in sys.modules:
        from structlog.contextvars import bind_contextvars

        bind_contextvars(task_id=run.task_id, task_name=run.task_name)


def unbind_from_structlog() -> None:
    """Take that back."""
    if "structlog" in sys.modules:
        from structlog.contextvars import unbind_contextvars

        unbind_contextvars("task_id", "task_name")


def _trace_fields() -> dict[str, object]:
    # Whoever traces has imported it; nobody else is to.
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
