"""How far a run is, for whoever watches it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(frozen=True, slots=True)
class RetentionProgress:
    """Rows deleted so far, the part of the walk that is done (0 to 1), and seconds since the start."""

    deleted: int
    fraction: float
    seconds: float


ProgressCallback = Callable[[RetentionProgress], Awaitable[None]]


@dataclass(slots=True)
class ProgressMeter:
    """Hands progress to a callback, at most ten times a second; an error that the callback raises ends the run."""

    callback: ProgressCallback | None
    _started: float = field(default_factory=monotonic)
    _last: float = float("-inf")

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return monotonic() - self._started

    async def report(self, deleted: int, fraction: float, *, end: bool = False) -> None:
        """Call the callback if it is time to, and at the end in any case."""
        seconds = self.seconds()
        if self.callback is None or (seconds - self._last < 0.1 and not end):  # noqa: PLR2004 - ten times a second
            return
        self._last = seconds
        await self.callback(RetentionProgress(deleted=deleted, fraction=fraction, seconds=seconds))
