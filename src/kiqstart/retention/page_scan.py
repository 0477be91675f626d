"""The scan along the heap, in the order of the disk: no index is read and none is needed."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.heap import Heap, rows_between
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.scan import Cut, Interval, Position
from kiqstart.retention.table import TableSize, read_table_size


@dataclass(frozen=True, kw_only=True)
class PageScan:
    """Goes along the pages. It reads the whole table once.

    A position is a line (see `heap`), so a batch takes the same pages of each partition. Rows that somebody rewrites
    while the scan goes on may move to pages that it has passed, or to new ones past its end; they are left to the next
    run.
    """

    policy: RetentionPolicy
    size: TableSize
    kind: ScanKind = ScanKind.PAGES

    @property
    def basis(self) -> str:
        """The files: rewriting the table moves its rows to other pages."""
        return self.size.storage

    def storage(self, interval: Interval) -> str:
        """Those of its basis."""
        del interval
        return self.basis

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """End at the end of the (longest partition's) last page."""
        heap = Heap(await read_table_size(connection, self.policy.table))
        return Interval(None, _line(heap.last)) if heap.last >= 0 else None

    async def split(self, connection: AsyncConnection, interval: Interval, parts: int) -> list[Interval]:
        """Cut into the same number of pages."""
        del connection
        begin, end, lines = _first(interval), int(interval.upto[0]) + 1, self.size.lines_per_page
        pages = range(begin // lines, -(-end // lines))
        parts = max(1, min(parts, len(pages)))
        cuts = [pages.start + len(pages) * number // parts for number in range(1, parts)]
        ends = [*(_line(cut * lines - 1) for cut in cuts), interval.upto]
        return [Interval(after, upto) for after, upto in zip([interval.after, *ends[:-1]], ends, strict=True)]

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        """Reckon the place; nothing is read."""
        del connection
        heap, first = Heap(self.size), _first(interval)
        last = heap.last_of_batch(first, int(interval.upto[0]), rows)
        return interval.cut_at(_line(last), heap.rows_on(first, last))

    async def guess(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        """Nothing is looked at anyway."""
        return await self.advance(connection, interval, rows)

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Compare the row's place with both ends."""
        return rows_between(self.policy, self.size, _first(interval), int(interval.upto[0]))

    def along_pages(self, interval: Interval) -> Interval | None:
        """It goes that way."""
        del interval
        return None

    def as_it_is(self, interval: Interval) -> Interval:
        """Its lines are those of its basis."""
        return interval

    def is_dearer(self, fruitless: int) -> bool:
        """No way is cheaper."""
        del fruitless
        return False

    def fraction(self, interval: Interval) -> float | None:
        """Tell by the position."""
        return _first(interval) / (int(interval.upto[0]) + 1)


def _first(interval: Interval) -> int:
    return 0 if interval.after is None else int(interval.after[0]) + 1


def _line(number: int) -> Position:
    return (str(number),)
