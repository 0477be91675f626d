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
    _deleted_before: int = 0
    _total: int = 0
    _fraction: float = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the callback would be called now."""
        return self.callback is not None and monotonic() - self._last >= _SECONDS_BETWEEN

    def begin(self, deleted: int) -> None:
        """Say how many rows had been deleted before this process took up the run."""
        self._started, self._deleted_before = monotonic(), deleted

    async def report(self, deleted: int, total: int, fraction: float | None, *, waiting: str | None = None) -> None:
        """Call the callback if it is time to; without a fraction, rows tell it. It never goes back."""
        if not self.is_due:
            return
        self._total = max(total, deleted)
        if fraction is None:
            fraction = deleted / self._total if self._total else 0.0
        self._fraction = min(1.0, max(fraction, self._fraction))
        await self._call(deleted, waiting)

    async def report_end(self, deleted: int, *, is_complete: bool) -> None:
        """Call the callback a last time; a run that is not complete stays at its fraction."""
        self._total = deleted if is_complete else max(self._total, deleted)
        self._fraction = 1.0 if is_complete else self._fraction
        await self._call(deleted, None)

    async def _call(self, deleted: int, waiting: str | None) -> None:
        if self.callback is None:
            return
        self._last = monotonic()
        seconds = self._last - self._started
        rate = (deleted - self._deleted_before) / seconds if seconds > 0 else 0.0
        left = self._total - deleted
        await self.callback(
            RetentionProgress(
                deleted=deleted,
                total=self._total,
                fraction=self._fraction,
                seconds=seconds,
                rate=rate,
                eta=left / rate if rate else None if left else 0.0,
                waiting=waiting,
            )
        )
