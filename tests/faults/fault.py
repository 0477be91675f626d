"""What was done to processes and to Redis, and when."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of faults. Only those that hit a process can be the reason for a second run."""

    KILL = "kill -9"
    FREEZE = "freeze"
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


@dataclass(kw_only=True)
class Faults:
    """All faults of a scenario, in the order in which they began."""

    all: list[Fault] = field(default_factory=list)

    def add(self, kind: Kind, pid: int | None = None, *, grace: float = 0.0, note: str = "") -> Fault:
        """Record a fault that happens now. Call it before doing the harm."""
        now = time.monotonic()
        fault = Fault(kind=kind, began=now, ended=now, pid=pid, grace=grace, note=note)
        self.all.append(fault)
        return fault

    @contextmanager
    def lasting(self, kind: Kind, pid: int | None = None, *, note: str = "") -> Generator[Fault]:
        """Record a fault that lasts as long as the `with` block."""
        fault = self.add(kind, pid, note=note)
        fault.ended = float("inf")
        try:
            yield fault
        finally:
            fault.ended = time.monotonic()
