"""How much a batch takes on."""

from typing import Final

from kiqstart.retention.settings import RetentionSettings

FIRST_ROWS: Final = 5_000
_FEWEST_ROWS: Final = 100
_FASTEST_GROWTH: Final = 4.0
_LONGEST_TIMEOUT: Final = 10.0
# Rows to look at in a batch, however few of them go.
_MOST_LOOKED_AT: Final = 10_000_000
_SIFTED_AT_FIRST: Final = 256
_FEWEST_SIFTED: Final = 64
_MOST_SIFTED: Final = 4096


class Pace:
    """Follows a target time per batch: the next batch is larger after a quick one and smaller after a slow one.

    `rows` is how many the next batch looks at, `timeout` the seconds that each of its statements may take. Where only
    some of those that are looked at go, a batch looks at more, so that as many go as may; `most` is that ceiling.
    `sifted` is how many rows of a batch that failed are tried one by one in a transaction.
    """

    def __init__(self, settings: RetentionSettings, rows_per_second: float | None = None) -> None:
        self._target = settings.batch_seconds
        # A ceiling of rows per second is kept batch by batch, so that rests stay as short as the batches.
        per_batch = round(rows_per_second * settings.batch_seconds) if rows_per_second else settings.batch_rows
        self.most = max(1, min(settings.batch_rows, per_batch))
        self._floor = min(_FEWEST_ROWS, self.most)
        self._first_timeout = settings.statement_timeout
        self.timeout = self._first_timeout
        self.rows = min(FIRST_ROWS, self.most)
        self.sifted = _SIFTED_AT_FIRST
        self._share = 1.0

    def record(self, seconds: float, *, looked_at: int, deleted: int) -> None:
        """Take the time that a batch took, and how many of the rows that it looked at (0: unknown) went."""
        if not looked_at:
            return
        self._share = deleted / looked_at
        # Below the floor are only batches that had to shrink; they grow step by step.
        floor = self._floor if self.rows >= self._floor else 1
        most = min(_MOST_LOOKED_AT, round(self.most * looked_at / deleted)) if deleted else _MOST_LOOKED_AT
        self.rows = max(floor, min(max(self.most, most), round(self.rows * self._factor(seconds))))
        self.timeout = max(self._first_timeout, self.timeout / 2)

    def rows_for(self, limit: int | None) -> int:
        """Return how many rows to look at where no more than `limit` may go, by how many of the last ones went."""
        if limit is None:
            return self.rows
        return min(self.rows, round(limit / self._share) if 0 < self._share < 1 else limit)

    def record_sifting(self, seconds: float) -> None:
        """Take the time in which rows were tried one by one."""
        floor = _FEWEST_SIFTED if self.sifted >= _FEWEST_SIFTED else 1
        self.sifted = max(floor, min(_MOST_SIFTED, round(self.sifted * self._factor(seconds))))

    def reset_looking(self) -> None:
        """Look at no more rows than may go, since more of them went than before."""
        self.rows = min(self.rows, self.most)

    def shrink(self) -> bool:
        """Make the next batch smaller, down to a single row; False if it is one already."""
        if self.rows == 1:
            return False
        self.rows = max(self.most, self.rows // 8) if self.rows > self.most else self.rows // 2
        return True

    def sift_less(self) -> bool:
        """Try fewer rows one by one, down to a single one; False if it is one already."""
        if self.sifted == 1:
            return False
        self.sifted = max(1, self.sifted // 4)
        return True

    def lengthen(self) -> bool:
        """Let the next statements take longer; False if they may not."""
        if self.timeout >= _LONGEST_TIMEOUT:
            return False
        self.timeout = min(_LONGEST_TIMEOUT, 2 * self.timeout)
        return True

    def relax(self) -> bool:
        """Make the next batch smaller, and where it is a single row, let it take longer; False when neither is left."""
        return self.shrink() or self.lengthen()

    def resized(self, rows: int, seconds: float) -> int:
        """Return how many rows a batch may have after one of so many took so long."""
        return min(self.most, round(rows * self._factor(seconds)))

    def _factor(self, seconds: float) -> float:
        return min(_FASTEST_GROWTH, self._target / seconds) if seconds > 0 else _FASTEST_GROWTH
