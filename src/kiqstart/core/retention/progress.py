"""How far a run is, for whoever watches it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

_SECONDS_BETWEEN: Final = 0.1


@dataclass(frozen=True, slots=True)
class RetentionProgress:
    """How far a run is.

    Args:
        deleted: rows so far.
        total: rows there will be, as PostgreSQL estimated at the start; never less than `deleted`.
        fraction: the part of the work that is done, 0 to 1.
        seconds: since this process took up the run.
        rate: rows per second since then.
        eta: seconds that are left at this rate; None while nothing can be said.
        waiting: what the run waits for, or None.
    """

    deleted: int
    total: int
    fraction: float
    seconds: float
    rate: float
    eta: float | None
    waiting: str | None = None


ProgressCallback = Callable[[RetentionProgress], Awaitable[None]]


@dataclass(slots=True)
class ProgressMeter:
    """Hands progress to a callback, at most ten times a second; an error that the callback raises ends the run."""

    callback: ProgressCallback | None
    _started: float = field(default_factory=monotonic)
    _last: float = float("-inf")
    _deleted_before: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether the callback would be called now."""
        return self.callback is not None and monotonic() - self._last >= _SECONDS_BETWEEN

    async def report(
        self, deleted: int, total: int, fraction: float | None, *, waiting: str | None = None, end: bool = False
    ) -> None:
        """Call the callback if it is time to, and at the end in any case; without a fraction, rows tell it."""
        if self._deleted_before is None:
            self._deleted_before = deleted
        if self.callback is None or not (end or self.is_due):
            return
        self._last = monotonic()
        seconds = self._last - self._started
        total = deleted if end else max(total, deleted)
        done = 1.0 if end else min(1.0, (deleted / total if total else 0.0) if fraction is None else fraction)
        rate = (deleted - self._deleted_before) / seconds if seconds > 0 else 0.0
        await self.callback(
            RetentionProgress(
                deleted=deleted,
                total=total,
                fraction=done,
                seconds=seconds,
                rate=rate,
                eta=0.0 if end else (total - deleted) / rate if rate else None,
                waiting=waiting,
            )
        )
