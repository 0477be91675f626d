"""How long things took, counted by spans of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

SECONDS_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0, 3600.0, inf)
"""Upper bounds of the histograms, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How long something took.

    Args:
        counts: how many took up to each of `SECONDS_BUCKETS`, and more than the one before.
        seconds: all together.
    """

    counts: Sequence[int] = (0,) * len(SECONDS_BUCKETS)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Seconds; None where there is none."""
        return self.seconds / self.count if self.count else None

    def within(self, part: float) -> float | None:
        """The one of `SECONDS_BUCKETS` within which that part of them ended; None where there is none."""
        needed, count = part * self.count, 0
        for bound, one in zip(SECONDS_BUCKETS, self.counts, strict=True):
            count += one
            if count and count >= needed:
                return bound
        return None
