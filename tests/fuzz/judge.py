"""What may never happen, whatever the input is: seen by Python's audit hooks, in the log, and in what is printed."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.fuzz import bait
from tests.fuzz.odd import TRAP
from tests.planted_secrets import check_output

from kiqstart.observability.log_formatter import HarmlessFormatter
from kiqstart.observability.terminal_escape import escape

# Code, programs and libraries that an input would have to run or load.
_CODE: Final = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.startfile",
    "pickle.find_class",
    "ctypes.dlopen",
    "pty.spawn",
)
_PROGRAMS: Final = ("subprocess.Popen", "os.fork", "os.forkpty")
_TRACEBACK: Final = "Traceback (most recent call last)"

_seen: list[str] = []
_is_watched = False


class FindingError(AssertionError):
    """An input did what none may do."""


class PlannedError(Exception):
    """What a task raises on purpose: its traceback may be logged."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _is_watched and event in (*_CODE, *_PROGRAMS):
        _seen.append(f"{event} {arguments!r:.300}")


sys.addaudithook(_watch)


@contextmanager
def no_code_is_run(folder: Path) -> Generator[None]:
    """Fail if something of the input is run or loaded: a program, a pickle, the bait, or a module called the trap.

    Args:
        folder: where commands of an input would leave something.
    """
    global _is_watched  # noqa: PLW0603  # an audit hook cannot be taken away
    _seen.clear()
    bait.SPRUNG.clear()
    _is_watched = True
    try:
        yield
    finally:
        _is_watched = False
    done = [*_seen, *bait.SPRUNG, *(str(file) for file in folder.rglob("sprung"))]
    done += [TRAP] * (TRAP in sys.modules)
    if done:
        raise FindingError(f"the input's code was run: {done}")


def check_printed(text: str) -> None:
    """Fail if what is printed could harm a terminal, holds a planted secret, or is a traceback."""
    check_output(text)
    if _TRACEBACK in text:
        raise FindingError(f"a traceback is printed:\n{escape_all(text)}")
    for line in text.split("\n"):
        if not line.isprintable():
            raise FindingError(f"control characters are printed: {line!r:.500}")


def escape_all(text: str) -> str:
    """What a finding may show."""
    return "\n".join(map(escape, text.split("\n")))[-3000:]


class _Written(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(HarmlessFormatter("[%(levelname)s] %(name)s: %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        is_planned = record.exc_info is not None and isinstance(record.exc_info[1], PlannedError)
        self.lines.append(record.getMessage() if is_planned else self.format(record))


@contextmanager
def judged_log() -> Generator[None]:
    """Fail if what is logged, as a worker writes it, could harm a terminal, holds a secret, or has a traceback."""
    written = _Written()
    root = logging.getLogger()
    root.addHandler(written)
    try:
        yield
    finally:
        root.removeHandler(written)
    check_printed("\n".join(written.lines))
