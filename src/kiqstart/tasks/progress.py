"""How far a running task is, as it says itself."""

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from math import isfinite
from typing import Final, Protocol

LONGEST_TEXT: Final = 200


class ReportsProgress(Protocol):
    """A run of a task, which knows what was reported last."""

    @property
    def progress(self) -> tuple[float, float | None, str] | None:
        """What was reported last: how much is done, how much there is, in words."""
        ...

    @progress.setter
    def progress(self, value: tuple[float, float | None, str] | None) -> None: ...


reporting_run: ContextVar[ReportsProgress | None] = ContextVar("reporting_run", default=None)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a task is.

    Args:
        done: how much of it is done, in any unit.
        total: how much there is; None where that is not known.
        text: what it is at, in its own words.
    """

    done: float
    total: float | None = None
    text: str = ""

    @property
    def fraction(self) -> float | None:
        """The part that is done, 0 to 1; None where that is not known."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else None


def report_progress(done: float, total: float | None = None, text: str = "") -> None:
    """Say how far the task is that calls this: `report_progress(300, 1_000, "rows")`.

    It is only noted here, however often it is called: the worker hands on what was reported last with its next beat,
    about once a second, and forgets it when the run ends. Outside a task, and with a broker that is no `StreamBroker`,
    it does nothing.

    Args:
        done: how much is done, in any unit.
        total: how much there is; None where that is not known.
        text: what it is at, up to 200 characters.
    """
    run = reporting_run.get()
    if run is not None:
        run.progress = (done, total, text)


def finite_number(value: object) -> float | None:
    """A number that JSON can hold: a task may report anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return value if isfinite(value) else None
    return None
