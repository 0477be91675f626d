"""What was done to processes and to Redis, and when."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.recorder import Mark

Write = Callable[..., None]


class Kind(StrEnum):
    """The kinds of faults. Only those that hit a process can be the reason for a second run."""

    KILL = "kill -9"
    FREEZE = "freeze"
    STARVED = "no core"
    TERM = "SIGTERM"
    REDIS = "Redis away"
    WIPE = "Redis wiped"
    CUT = "connections cut"


@dataclass(kw_only=True)
class Fault:
    """One fault; times are seconds of the monotonic clock.

    Args:
        kind: what was done.
        began: when.
        ended: when it was over; the same as `began` where it takes no time.
        pid: the worker process that was hit, or the process manager whose workers all were. None: no process.
        grace: for SIGTERM, the seconds that running tasks were given.
        alone_until: where nobody was there to take over, the time at which somebody was.
        note: for the log.
    """

    kind: Kind
    began: float
    ended: float
    pid: int | None = None
    grace: float = 0.0
    alone_until: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        hit = "" if self.pid is None else f" pid {self.pid}"
        grace = f", grace {self.grace:g} s" if self.grace else ""
        return f"{self.kind} {self.note}:{hit} from {self.began:.3f} to {self.ended:.3f}{grace}"


def _write_nothing(_: Mark, __: str, **___: object) -> None:
    """Keep no history."""


@dataclass(kw_only=True)
class Faults:
    """All faults of a scenario, in the order in which they began.

    Args:
        write: records an event.
    """

    all: list[Fault] = field(default_factory=list)
    write: Write = _write_nothing

    def add(self, kind: Kind, pid: int | None = None, *, grace: float = 0.0, note: str = "") -> Fault:
        """Record a fault that happens now. Call it before doing the harm."""
        now = time.monotonic()
        fault = Fault(kind=kind, began=now, ended=now, pid=pid, grace=grace, note=note)
        self.all.append(fault)
        self.write(Mark.FAULT, str(len(self.all) - 1), kind=kind, hit=pid, grace=grace, note=note)
        return fault

    @contextmanager
    def lasting(self, kind: Kind, pid: int | None = None, *, note: str = "") -> Generator[Fault]:
        """Record a fault that lasts as long as the `with` block."""
        fault = self.add(kind, pid, note=note)
        fault.ended = float("inf")
        try:
            yield fault
        finally:
            self.end(fault)

    def end(self, fault: Fault) -> None:
        """Record that a fault is over."""
        fault.ended = time.monotonic()
        self.write(Mark.OVER, str(self._number(fault)))

    def relieve(self, fault: Fault) -> None:
        """Record that somebody is there now for what a fault has left to nobody."""
        fault.alone_until = time.monotonic()
        self.write(Mark.RELIEVED, str(self._number(fault)))

    def _number(self, fault: Fault) -> int:
        return next(number for number, one in enumerate(self.all) if one is fault)
