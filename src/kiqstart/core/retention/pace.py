"""How much a batch takes on."""

from typing import Final

from kiqstart.core.retention.settings import RetentionSettings

_FIRST_ROWS: Final = 5_000
_FEWEST_ROWS: Final = 100
_FASTEST_GROWTH: Final = 4.0
_LONGEST_TIMEOUT: Final = 10.0


class Pace:
    """Follows a target time per batch: the next batch is larger after a quick one and smaller after a slow one.

    `rows` is the size of the next batch, `timeout` the seconds that it may take.
    """

    def __init__(self, settings: RetentionSettings, rows_per_second: float | None = None) -> None:
        self._target = settings.batch_target
        # A ceiling of rows per second is kept batch by batch, so that rests stay as short as the batches.
        per_batch = round(rows_per_second * settings.batch_seconds) if rows_per_second else settings.batch_rows
        self._ceiling = max(1, min(settings.batch_rows, per_batch))
        self._floor = min(_FEWEST_ROWS, self._ceiling)
        self._first_timeout = settings.statement_timeout
        self.timeout = self._first_timeout
        self.rows = min(_FIRST_ROWS, self._ceiling)

    def record(self, seconds: float) -> None:
        """Take the time that a batch of the present size took."""
        factor = min(_FASTEST_GROWTH, self._target / seconds) if seconds > 0 else _FASTEST_GROWTH
        # Below the floor are only batches that had to shrink; they grow step by step.
        floor = self._floor if self.rows >= self._floor else 1
        self.rows = max(floor, min(self._ceiling, round(self.rows * factor)))
        self.timeout = max(self._first_timeout, self.timeout / 2)

    def shrink(self) -> bool:
        """Halve the next batch, down to a single row; False if it is one already."""
        if self.rows == 1:
            return False
        self.rows //= 2
        return True

    def relax(self) -> bool:
        """Make the next batch smaller, and where it is a single row, let it take longer; False when neither is left."""
        if self.shrink():
            return True
        if self.timeout >= _LONGEST_TIMEOUT:
            return False
        self.timeout = min(_LONGEST_TIMEOUT, 2 * self.timeout)
        return True
