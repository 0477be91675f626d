"""Writes what happens into a history: a file that needs no server and outlives whoever is killed."""

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast


class Mark(StrEnum):
    """What a line says about a task's id, a process, or Redis."""

    SCENARIO = "scenario"
    """The first line: what is played."""
    READY = "ready"
    """A worker process is about to listen; the id is that of its process manager."""
    SENDING = "sending"
    SENT = "sent"
    HELD = "held"
    """The sender was told that another task holds its unique key."""
    FAILED = "failed"
    """The send raised: whether the task was taken is not known."""
    GIVEN_UP = "given-up"
    """The sender did not wait for an answer."""
    START = "start"
    END = "end"
    CUT = "cut"
    """The task was cancelled, or raised what nobody expects."""
    DEADLY = "deadly"
    """The task kills its own process now."""
    HEARD = "heard"
    """A caller was told what became of a task."""
    UNHEARD = "unheard"
    """A caller waits in vain for what became of a task."""
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    """The caller was told where the task was found; where nothing is said, the call has failed."""
    FAULT = "fault"
    """Harm begins; the id is its number."""
    OVER = "over"
    """It has ended."""
    RELIEVED = "relieved"
    """From now on somebody is there for what it has left to nobody."""
    STOOD_STILL = "stood-still"
    """A worker process got no core for some seconds."""
    DUE = "due"
    """A schedule's time is within what was played."""
    LOOKED = "looked"
    """What Redis has in the end."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line of a history.

    Args:
        at: seconds of the monotonic clock, which all processes share.
        wall: seconds since the Unix epoch, for whoever compares it with logs.
        pid: the process that wrote it.
    """

    mark: Mark
    id: str
    pid: int
    at: float
    wall: float
    details: dict[str, Any]

    @classmethod
    def read(cls, line: str | bytes) -> "Event":
        """Read one line.

        Raises:
            ValueError: it is none.
        """
        try:
            fields = cast("dict[str, Any]", json.loads(line))
            mark, name = Mark(fields.pop("event")), str(fields.pop("id"))
            pid, at, wall = int(fields.pop("pid")), float(fields.pop("at")), float(fields.pop("wall"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no event of a history: {error!r}") from None
        return cls(mark=mark, id=name, pid=pid, at=at, wall=wall, details=fields)

    def __str__(self) -> str:
        details = "".join(f" {name}={value}" for name, value in self.details.items() if value not in ("", None))
        return f"{self.at:.3f} {self.mark}{details} (pid {self.pid})"


class Recorder:
    """Appends one short line an event. The file is open to any number of processes at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._runs = 0

    def write(self, mark: Mark, name: str, **details: object) -> None:
        """Append an event of now, in one write."""
        fields = {"event": mark, "id": name, "pid": os.getpid(), "at": time.monotonic(), "wall": time.time(), **details}
        os.write(self._descriptor, json.dumps(fields).encode() + b"\n")

    def write_ready(self) -> None:
        """Say that this worker process is up, and which process manager it belongs to."""
        self.write(Mark.READY, str(os.getppid()))

    @contextmanager
    def run(self, name: str, *, tried: int = 0) -> Generator["Running"]:
        """Record a run of a task from its start to its end.

        Args:
            name: the task.
            tried: how often it has failed before.
        """
        self._runs += 1
        running = Running(token=f"{os.getpid()}.{self._runs}")
        self.write(Mark.START, name, run=running.token, tried=tried)
        try:
            yield running
        except BaseException:
            self.write(Mark.CUT, name, run=running.token, tried=tried)
            raise
        self.write(Mark.END, name, run=running.token, tried=tried, how=running.how, again=running.is_tried_again)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@dataclass(kw_only=True)
class Running:
    """A run that is being recorded.

    Args:
        token: names it.
        how: how it ends: 'ok' or 'error'.
        is_tried_again: whether there is another try after that error.
    """

    token: str
    how: str = "ok"
    is_tried_again: bool = False
