"""Tells the dead among workers from those that merely seem so."""

from collections.abc import Mapping


class Observation:
    """Watches workers whose last beat is too old, and takes one for dead that stays so for a whole span.

    The span is measured by this machine's clock, and begins anew after any gap in watching: when Redis or this process
    has stood still, live workers look as late as dead ones, and get the time to beat again.

    Args:
        span: seconds for which a worker must be seen without a new beat.
        longest_gap: seconds between two looks beyond which nothing can be said.
    """

    def __init__(self, *, span: float, longest_gap: float) -> None:
        self._span = span
        self._longest_gap = longest_gap
        self._last_look = float("-inf")
        self._late: dict[str, tuple[str, float]] = {}

    def look(self, late: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """Note the workers that are late now, with the time of their last beat; return those that are dead."""
        if now - self._last_look > self._longest_gap:
            self._late.clear()
        self._last_look = now
        seen = self._late
        self._late = {
            worker: seen[worker] if worker in seen and seen[worker][0] == beat else (beat, now)
            for worker, beat in late.items()
        }
        return [(worker, beat) for worker, (beat, since) in self._late.items() if now - since >= self._span]
