"""The standard library's log lines, for workers whose module sets up no log of its own."""

import logging
from types import TracebackType

from kiqstart.observability.redaction import redact
from kiqstart.observability.terminal_escape import escape, escape_lines

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class HarmlessFormatter(logging.Formatter):
    """Without secrets, and with what a message quotes in one line, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole, with a traceback of its own: another handler's formatter has kept it as it wrote it."""
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = kept

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class' name
        """The line itself."""
        record.message = escape(redact(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802  # the base class' name
        """The traceback below it."""
        return escape_lines(redact(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802  # the base class' name
        """The stack below it."""
        return escape_lines(redact(super().formatStack(stack_info)))


def configure_plain_logging(level: int | str, line: str) -> None:
    """Log to standard error, unless that is set up already.

    Args:
        level: the least level that is written.
        line: the format, as `logging.Formatter` has it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(HarmlessFormatter(line))
    logging.basicConfig(level=level, handlers=[handler])
