"""Tells the dead among workers from those that merely seem so."""

from collections.abc import Callable, Mapping
from math import inf


class FailureDetector:
    """Watches workers' beats, and takes a worker for dead whose beat stays the same for a whole span.

    What a beat says does not matter, only whether it changes: so Redis' clock may be set as one likes. The span is
    measured by this machine's clock, and begins anew after any gap in watching: when Redis or this process has stood
    still, live workers look as late as dead ones, and get the time to beat again.

    Args:
        span: seconds for which a worker must be seen without a new beat.
        longest_gap: seconds between two looks beyond which nothing can be said.

    Attributes:
        next_at: when the next worker will be dead unless it beats until then; infinity for none.
    """

    def __init__(self, *, span: Callable[[str], float], longest_gap: float) -> None:
        self._span = span
        self._longest_gap = longest_gap
        self._last_look = float("-inf")
        self._seen: dict[str, tuple[str, float]] = {}
        self.next_at = inf

    def look(self, beats: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """Note the beats of workers as they are now; return those that are dead, with their last one."""
        if now - self._last_look > self._longest_gap:
            self._seen.clear()
        self._last_look = now
        seen = self._seen
        self._seen = {
            worker: seen[worker] if worker in seen and seen[worker][0] == beat else (beat, now)
            for worker, beat in beats.items()
        }
        dead: list[tuple[str, str]] = []
        self.next_at = inf
        for worker, (beat, since) in self._seen.items():
            dead_at = since + self._span(worker)
            if now >= dead_at:
                dead.append((worker, beat))
            else:
                self.next_at = min(self.next_at, dead_at)
        return dead
