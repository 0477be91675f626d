"""Log lines: readable on a terminal, JSON elsewhere if asked for, each with the task that it belongs to."""

import logging
import sys
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Final, Literal, TextIO

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kiqstart.observability.redaction import redact, redacted_beside
from kiqstart.observability.task_fields import add_task_fields
from kiqstart.observability.terminal_escape import escape, escape_lines

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor

_OF_SEVERAL_LINES: Final = ("exception", "stack")

# structlog is imported where tasks are run: it imports rich, and commands that only look at a queue write no log.


class LogFormat(StrEnum):
    """How a log line is written."""

    CONSOLE = "console"
    JSON = "json"


class LogSettings(BaseSettings):
    """Environment variables of the log."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="LOG_", extra="ignore")

    format: LogFormat = Field(default=LogFormat.CONSOLE, description="`console` for people, `json` for collectors.")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="The least level written.")


def configure_logging(settings: LogSettings) -> None:
    """Send all log lines to standard error: the standard library's, which taskiq and SQLAlchemy write, and structlog's.

    Both have the same fields: those of the task that runs, those of `extra=` and those that are bound to a logger.
    """
    import structlog

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_task_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Processor] = _json_renderers() if settings.format is LogFormat.JSON else _console_renderers()
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _without_colors],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(level=settings.level, handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _without_colors(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    """Without what uvicorn says a second time, for terminals."""
    event.pop("color_message", None)
    return event


def _json_renderers() -> "list[Processor]":
    from structlog.processors import ExceptionRenderer, JSONRenderer
    from structlog.tracebacks import ExceptionDictTransformer

    # Local variables are left out: they hold whatever the program does, passwords and people's data.
    tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [tracebacks, _redact, JSONRenderer()]


def _console_renderers() -> "list[Processor]":
    from structlog.dev import ConsoleRenderer, plain_traceback

    def harmless_traceback(output: TextIO, error: "ExcInfo") -> None:
        written = StringIO()
        plain_traceback(written, error)
        output.write(escape_lines(redact(written.getvalue())))

    renderer = ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=harmless_traceback)
    return [_redact, _escape, renderer]


def _redact(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    # Not the exception itself, which a renderer makes text of later.
    return {name: value if name == "exc_info" else redacted_beside(name, value) for name, value in event.items()}


def _escape(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    return {
        name: value if name == "exc_info" else (escape_lines if name in _OF_SEVERAL_LINES else escape)(str(value))
        for name, value in event.items()
    }
