"""The walk along the heap, in the order of the disk: no index is read and none is needed."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, and_, cast, column, literal, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import UserDefinedType

from kiqstart.core.retention.errors import TableRewrittenError
from kiqstart.core.retention.policy import RetentionPolicy, WalkKind
from kiqstart.core.retention.table import TableSize, read_storage, read_table_size
from kiqstart.core.retention.walk import Interval, Position


class TupleId(UserDefinedType[str]):
    """PostgreSQL's `tid`, a row's place in the heap, written as text: `(page,line)`."""

    cache_ok = True

    def get_col_spec(self, **kw: object) -> str:
        """Name the type in a CAST."""
        del kw
        return "tid"


# Unqualified: a policy's predicate reaches other tables only inside subqueries.
ctid: ColumnElement[str] = column("ctid", TupleId())


@dataclass(frozen=True, kw_only=True)
class PageWalk:
    """Goes along the pages. It reads the whole table once.

    A position is a line, counted through all pages as if each were full of the smallest rows. In a partitioned table it
    is that line of every partition, so a batch takes the same pages of each. Rows that somebody rewrites while the walk
    goes on may move to pages that it has passed, or to new ones past its end; they are left to the next run.
    """

    policy: RetentionPolicy
    size: TableSize
    kind: WalkKind = WalkKind.PAGES

    @property
    def basis(self) -> str:
        """The files: rewriting the table moves its rows to other pages."""
        return self.size.storage

    async def check_basis(self, connection: AsyncConnection) -> None:
        """Compare the files."""
        if await read_storage(connection, self.policy.table) != self.size.storage:
            raise TableRewrittenError(self.policy.name)

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """End at the end of the (longest partition's) last page."""
        size = await read_table_size(connection, self.policy.table)
        return Interval(None, _line(size.longest * size.lines_per_page - 1)) if size.longest else None

    async def split(self, connection: AsyncConnection, interval: Interval, pieces: int) -> list[Interval]:
        """Cut into the same number of pages."""
        del connection
        begin, end, lines = _first(interval), int(interval.upto[0]) + 1, self.size.lines_per_page
        pages = range(begin // lines, -(-end // lines))
        pieces = max(1, min(pieces, len(pages)))
        cuts = [pages.start + len(pages) * number // pieces for number in range(1, pieces)]
        ends = [*(_line(cut * lines - 1) for cut in cuts), interval.upto]
        return [Interval(after, upto) for after, upto in zip([interval.after, *ends[:-1]], ends, strict=True)]

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Position:
        """Go on by as many pages as hold so many rows on average, or by so many lines where that is less than one."""
        del connection
        begin, pages, lines = _first(interval), round(rows / self.size.rows_per_page), self.size.lines_per_page
        end = begin + rows if pages < 1 else (begin // lines + pages) * lines
        return _line(min(end, int(interval.upto[0]) + 1) - 1)

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Compare the row's place with both ends."""
        after = true() if interval.after is None else ctid > self._tid(interval.after)
        return and_(after, ctid <= self._tid(interval.upto))

    def fraction(self, interval: Interval) -> float | None:
        """Tell by the position."""
        return _first(interval) / (int(interval.upto[0]) + 1)

    def _tid(self, position: Position) -> ColumnElement[str]:
        page, line = divmod(int(position[0]), self.size.lines_per_page)
        return cast(literal(f"({page},{line})", Text), TupleId())


def _first(interval: Interval) -> int:
    return 0 if interval.after is None else int(interval.after[0]) + 1


def _line(number: int) -> Position:
    return (str(number),)
