"""The last lines that were logged somewhere, as text for people: without secrets, and harmless on a terminal."""

import logging
import sys
import time
import traceback
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Final, cast

from kiqstart.observability.redaction import redact_beginning, redact_end, redacted_beside
from kiqstart.observability.terminal_escape import escape, escape_lines

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

# What is no field of the program's own: what each record has, what a filter adds of the task, and what structlog does.
_OF_EACH_RECORD: Final = frozenset(
    {*logging.makeLogRecord({}).__dict__, "message", "asctime", "task_name", "task_id", "trace_id", "span_id"}
)
_OF_EACH_EVENT: Final = _OF_EACH_RECORD | {"event", "level", "logger", "timestamp", "exception", "stack"}
_CUT: Final = "…"


class KeptLines:
    """The last lines, as many as fit.

    Args:
        most: bytes of all together. Of a longer line the beginning is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self.size = 0
        """Bytes."""

    def add(self, line: str) -> None:
        """Keep one more, and drop the first ones that have no room then."""
        data = line.encode(errors="backslashreplace")
        if len(data) >= self._most:
            data = data[: max(self._most - len(_CUT.encode()) - 1, 0)].decode(errors="ignore").encode() + _CUT.encode()
        self._lines.append(data)
        self.size += len(data) + 1
        while self.size > self._most and len(self._lines) > 1:
            self.size -= len(self._lines.popleft()) + 1
            self._dropped += 1

    def text(self) -> bytes:
        """All that are kept, and how many were dropped before them."""
        dropped = [f"({self._dropped} earlier lines are not kept)".encode()] if self._dropped else []
        return b"\n".join([*dropped, *self._lines])


def line_of(record: logging.LogRecord, most: int) -> str:
    """A record of the standard library, or one that structlog has handed to it, with its fields and its traceback.

    Args:
        record: the record.
        most: characters of its message with the fields, and of its traceback; twice as many are looked at.
    """
    event: object = record.msg
    if isinstance(event, Mapping):
        fields = cast("Mapping[str, object]", event)
        message, error = str(fields.get("event", "")), _error_of(fields.get("exc_info")) or record.exc_info
        own = {name: value for name, value in fields.items() if name not in _OF_EACH_EVENT}
    else:
        message, error = record.getMessage(), record.exc_info
        own = {name: value for name, value in record.__dict__.items() if name not in _OF_EACH_RECORD}
    words = " ".join([message, *(f"{name}={redacted_beside(name, value)}" for name, value in own.items())])
    at = f"{time.strftime('%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"
    line = f"{at} {record.levelname} {escape(record.name)}: {escape(redact_beginning(words, most))}"
    text = "".join(traceback.format_exception(*error)).rstrip("\n") if error and error[0] else ""
    return f"{line}\n{escape_lines(redact_end(text, most))}" if text else line


def _error_of(given: object) -> _ExcInfo | None:
    """What structlog has taken for `exc_info`."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return cast("_ExcInfo", given)
    return sys.exc_info() if given else None
