"""The store's clock, read off this machine's in between."""

import time
from collections.abc import Callable
from logging import getLogger
from typing import Final

from kiqstart.clock import local_time

logger = getLogger(__name__)

# So far apart the clocks of two well-kept machines never are.
_SKEW_MS: Final = 2000


class StoreClock:
    """Knows the store's time between two polls, and notices when it, or this machine's, is wrong.

    Args:
        steady: seconds by a clock that nobody sets.
        wall: seconds since the Unix epoch by this machine's clock.
    """

    def __init__(self, steady: Callable[[], float] = local_time, wall: Callable[[], float] = time.time) -> None:
        self._steady = steady
        self._wall = wall
        self._offset_ms: float | None = None
        self._is_skewed = False

    def observe(self, now_ms: int, began: float) -> None:
        """Take in the store's time, from a poll that began at a time of the steady clock."""
        ended = self._steady()
        offset = now_ms - (began + ended) / 2 * 1000
        step = 0.0 if self._offset_ms is None else offset - self._offset_ms
        self._offset_ms = offset
        uncertainty = (ended - began) * 1000
        if abs(step) > _SKEW_MS + uncertainty:
            logger.warning(
                "The clock of the store was set %s by %.0f s", "forward" if step > 0 else "back", abs(step) / 1000
            )
        self._compare(now_ms, uncertainty)

    def seconds_until(self, due_ms: int) -> float:
        """Seconds until a time of the store; negative where it is over."""
        return (due_ms - (self._offset_ms or 0.0)) / 1000 - self._steady()

    def steady(self) -> float:
        """Seconds by the clock that nobody sets."""
        return self._steady()

    def _compare(self, now_ms: int, uncertainty: float) -> None:
        skew = self._wall() * 1000 - now_ms
        is_skewed = abs(skew) > _SKEW_MS + uncertainty
        if is_skewed and not self._is_skewed:
            logger.warning(
                "This machine's clock is %.1f s %s that of Redis, which is the one that counts",
                abs(skew) / 1000,
                "ahead of" if skew > 0 else "behind",
            )
        self._is_skewed = is_skewed
