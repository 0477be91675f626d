"""How much a batch takes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """The first batch's size, the smallest and the largest, in what a walk counts: rows or pages.

    `target` is the time that a batch should take, in seconds.
    """

    first: int
    floor: int
    ceiling: int
    target: float = 0.1


class Pace:
    """Follows a target time per batch: the next batch is larger after a quick one and smaller after a slow one."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self.size = limits.first

    def record(self, seconds: float) -> None:
        """Take the time that a batch of the present size took."""
        # At most doubled: what comes next may be denser than what has been.
        factor = min(2.0, self._limits.target / seconds) if seconds > 0 else 2.0
        self.size = max(self._limits.floor, min(self._limits.ceiling, round(self.size * factor)))
