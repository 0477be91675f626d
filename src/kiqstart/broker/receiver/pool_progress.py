"""How far functions in the processes of a pool are, told to the worker over a pipe.

All processes write to one pipe, each report in one write that the system does not divide, and drop what does not fit:
there is no lock that a process could die with, and none waits.
"""

import asyncio
import json
import multiprocessing
import os
import select
import threading
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from kiqstart.observability.redaction import redact
from kiqstart.tasks.progress import LONGEST_TEXT, ReportsProgress, finite_number, reporting_run

if TYPE_CHECKING:
    from contextvars import Token
    from multiprocessing.connection import Connection

# A worker hands on what was reported last about once a second.
_SECONDS_BETWEEN: Final = 0.25
_READ_AT_ONCE: Final = 64 * 1024


class PoolReports:
    """The worker's end: hands each report to the run that it is of."""

    def __init__(self) -> None:
        self._reader, self.writer = multiprocessing.Pipe(duplex=False)
        for end in (self._reader, self.writer):
            os.set_blocking(end.fileno(), False)
        self._numbers = count(1)
        self._runs: dict[int, ReportsProgress] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = b""

    def begin(self) -> int:
        """The number of the current run, under which its function reports; 0 where nobody asks."""
        run = reporting_run.get()
        if run is None:
            return 0
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._reader.fileno(), self._read)
        number = next(self._numbers)
        self._runs[number] = run
        return number

    def end(self, number: int) -> None:
        """Take no more reports of a run."""
        self._runs.pop(number, None)

    def close(self) -> None:
        """Let the pipe go."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._reader.fileno())
        self._loop = None
        self._reader.close()
        self.writer.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            *lines, self._begun = (self._begun + os.read(self._reader.fileno(), _READ_AT_ONCE)).split(b"\n")
            for line in lines:
                number, done, total, text = cast("tuple[int, float, float | None, str]", json.loads(line))
                if number in self._runs:
                    self._runs[number].progress = (done, total, text)


class PooledRun:
    """A run of a function in a process: around its call, the worker is told what was reported last.

    A thread tells it, from the first report on.

    Args:
        writer: of the pipe.
        number: the run's; with 0, nobody asks.
    """

    def __init__(self, writer: "Connection", number: int) -> None:
        self._writer = writer
        self._number = number
        self._is_over = threading.Event()
        self._last: tuple[float, float | None, str] | None = None
        self._token: Token[ReportsProgress | None] | None = None

    def __enter__(self) -> None:
        """Take the reports of what follows."""
        if self._number:
            self._token = reporting_run.set(self)

    # `contextlib.contextmanager` writes to the error's traceback, which not every class allows.
    def __exit__(self, *_: object) -> None:
        """Tell no more."""
        self._is_over.set()
        if self._token is not None:
            reporting_run.reset(self._token)

    @property
    def progress(self) -> tuple[float, float | None, str] | None:
        """What was reported last."""
        return self._last

    @progress.setter
    def progress(self, value: tuple[float, float | None, str] | None) -> None:
        is_first, self._last = self._last is None, value
        if is_first:
            threading.Thread(target=self._follow, name="report-progress", daemon=True).start()

    def _follow(self) -> None:
        told = None
        while not self._is_over.is_set():
            if self._last is not None and self._last is not told:
                told = self._last
                # What a task reports may be of any class.
                with suppress(Exception):
                    self._tell(told)
            self._is_over.wait(_SECONDS_BETWEEN)

    def _tell(self, progress: tuple[float, float | None, str]) -> None:
        done, total, text = progress
        said = [self._number, finite_number(done) or 0.0, finite_number(total), redact(str(text))[:LONGEST_TEXT]]
        line = json.dumps(said).encode() + b"\n"
        # The system does not divide what is no longer; what the pipe has no room for is dropped.
        if len(line) <= select.PIPE_BUF:
            os.write(self._writer.fileno(), line)
