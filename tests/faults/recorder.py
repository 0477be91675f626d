"""Writes what happens to tasks into a file that needs no server and outlives whoever is killed."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path


class Mark(StrEnum):
    """What a line says about a task's id, or about a worker."""

    READY = "ready"
    """A worker process is about to listen; the id is that of its process manager."""
    SENDING = "sending"
    SENT = "sent"
    START = "start"
    END = "end"
    CUT = "cut"
    """The task was cancelled, or raised."""
    DEADLY = "deadly"
    """The task kills its own process now."""


class Recorder:
    """Appends one short line a mark. The file is open to any number of processes at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, mark: Mark, name: str) -> None:
        """Append `<mark> <name> <pid> <nanoseconds of the monotonic clock>`, in one write."""
        os.write(self._descriptor, f"{mark} {name} {os.getpid()} {time.monotonic_ns()}\n".encode())

    def write_ready(self) -> None:
        """Say that this worker process is up, and which process manager it belongs to."""
        self.write(Mark.READY, str(os.getppid()))

    @contextmanager
    def run(self, name: str) -> Generator[None]:
        """Record a run of a task from its start to its end."""
        self.write(Mark.START, name)
        try:
            yield
        except BaseException:
            self.write(Mark.CUT, name)
            raise
        self.write(Mark.END, name)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
