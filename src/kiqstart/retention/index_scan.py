"""The scan along an index: finds the n-th row past the cursor in its order; the batch is all matching rows up to it."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    cast,
    column,
    func,
    literal,
    select,
    table,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType

from kiqstart.retention.explain import explain
from kiqstart.retention.heap import Heap, ctid, rows_between
from kiqstart.retention.index import CursorIndex
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.scan import Cut, Interval, Lines, Position
from kiqstart.retention.stored_types import StoredTypes
from kiqstart.retention.table import TableSize
from kiqstart.retention.ties import Ties, find_ties

_STATISTICS: Final = table(
    "pg_stats", column("schemaname"), column("tablename"), column("attname"), column("inherited")
)
# More than can be counted in time.
_MOST_TIES: Final = 2**31
_PAGES_COUNTED: Final = 2


@dataclass(kw_only=True)
class IndexScan:
    """Goes along the policy's cursor.

    A position is a key, or its first column alone, which says that no row equal in it is left. A batch looks at the
    next rows of the index, whether the predicate is true of them or not, so that however few are, it comes forward. It
    ends between two values of the first column. Where one value has more rows than a batch, these are cut by the rest
    of the key if the index has it, else gone through in the order of the disk: nothing is sorted twice.
    """

    policy: RetentionPolicy
    size: TableSize
    types: StoredTypes
    # None: there is none, so all goes in the order of the disk.
    index: CursorIndex | None = None
    kind: ScanKind = ScanKind.KEY
    _detours: float = field(default=0.0, init=False)
    _counted_per_page: float = field(default=0.0, init=False)

    @property
    def basis(self) -> str:
        """The table and its key."""
        return key_basis(self.policy)

    def storage(self, interval: Interval) -> str | None:
        """Keys stay what they are wherever the rows lie; lines do not."""
        return None if interval.lines is None else interval.lines.storage

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """End at the last row's value of the first column."""
        first = self.policy.key[0]
        rows = select(cast(first, Text)).where(self._scope()).order_by(first.desc()).limit(1)
        last = await connection.scalar(rows)
        return None if last is None else Interval(None, (last,))

    async def split(self, connection: AsyncConnection, interval: Interval, parts: int) -> list[Interval]:
        """Cut at the bounds of the histogram that PostgreSQL keeps of the first column; without one, do not cut."""
        cuts = await self._histogram(connection, interval) if parts > 1 and interval.lines is None else []
        if not cuts:
            return [interval]
        parts = min(parts, len(cuts) + 1)
        chosen = [cuts[len(cuts) * number // parts] for number in range(1, parts)]
        ends: list[Position] = [*((cut,) for cut in dict.fromkeys(chosen)), interval.upto]
        return [Interval(after, upto) for after, upto in zip([interval.after, *ends[:-1]], ends, strict=True)]

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        """Find the n-th row's key in the index, or the n-th row's page where the interval goes along these."""
        if interval.lines is not None:
            return self._next_pages(interval, interval.lines, rows)
        if self.index is None:
            return await self.advance(connection, self._along_all_pages(interval), rows)
        first = self.policy.key[0]
        inside = self.where(interval)
        nth = select(first).where(inside).order_by(first).offset(rows - 1).limit(2).subquery()
        # Outside, or every row that is stepped over would be made text; by which equal values can differ (1.0, 1.00).
        value = nth.columns[0]
        found = (await connection.execute(select(cast(value, Text), func.count().over(partition_by=value)))).all()
        if len(found) < 2:  # noqa: PLR2004 - the row at the cut and the one after it
            return Cut(interval)
        text, equal = found[0]
        if equal == 1:
            return interval.cut_at((text,), rows)
        return await self._cut_equal(connection, interval, text, rows)

    async def guess(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut | None:
        """End at the value of a row that lies so many rows further on the disk, where the heap follows the cursor.

        To find the n-th row in the index takes a fourth of the time in which these rows are deleted.
        """
        if interval.lines is not None or self.index is None or not self.size.is_one:
            return None
        first, heap, inside = self.policy.key[0], Heap(self.size), self.where(interval)
        begin = select(cast(ctid, Text)).select_from(self.policy.table).where(inside).order_by(first).limit(1)
        begins_at = await connection.scalar(begin)
        if begins_at is None:
            return None
        line = heap.line_after(begins_at, rows, await self._rows_per_page(connection, heap, begins_at))
        # A page or two, whose rows are compared one by one: the index would come by all that lie before.
        near = heap.between(line, line + 2 * self.size.lines_per_page)
        value = await connection.scalar(select(cast(first, Text)).where(near, inside.is_(true())).limit(1))
        return None if value is None else replace(interval.cut_at((value,)), guessed=rows)

    async def _rows_per_page(self, connection: AsyncConnection, heap: Heap, tid: str) -> float:
        """Return what an ANALYZE has found out, or without one, what the next pages have."""
        if self.size.known_rows or self._counted_per_page:
            return self._counted_per_page or self.size.rows_per_page
        first = heap.line_of(tid) + self.size.lines_per_page
        near = heap.between(first, first + _PAGES_COUNTED * self.size.lines_per_page - 1)
        counted = select(func.count()).select_from(self.policy.table).where(near)
        rows = (await connection.execute(counted)).scalar_one()
        self._counted_per_page = max(1.0, rows / _PAGES_COUNTED)
        return self._counted_per_page

    async def _cut_equal(self, connection: AsyncConnection, interval: Interval, value: str, rows: int) -> Cut:
        """Cut where the n-th row and the next are equal in the first column."""
        assert self.index is not None  # noqa: S101 - as `advance` has seen
        first = self.policy.key[0]
        inside = self.where(interval)
        if self.index.by_key:
            cut = await self._cut_by_key(connection, interval, rows)
            if await self._goes_by_key(connection, cut, self.index):
                return cut
        equal = self.types.value(value, first)
        before = select(cast(first, Text)).where(inside, first < equal).order_by(first.desc()).limit(1)
        last_before = await connection.scalar(before)
        if last_before is not None:
            return interval.cut_at((last_before,))
        equals = and_(inside, first == equal)
        ties = await find_ties(connection, self.policy, equals, batch=rows, most=self._most_ties(self.index))
        if ties is not None and ties.are_few:
            return await self._cut_by_key(connection, interval, rows)
        of_value = interval.cut_at((value,))
        lines = None if ties is None else self._lines_of(ties)
        if lines is None:
            return await self.advance(connection, self._along_all_pages(interval), rows)
        cut = self._next_pages(of_value.batch, lines, rows)
        return replace(cut, rest=(*cut.rest, *of_value.rest))

    async def _cut_by_key(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        texts = (cast(one, Text) for one in self.policy.key)
        nth = select(*texts).where(self.where(interval)).order_by(*self.policy.key).offset(rows - 1).limit(1)
        # None: somebody else has deleted rows since.
        found = (await connection.execute(nth)).one_or_none()
        return interval.cut_at(tuple(found), rows) if found else Cut(interval)

    async def _goes_by_key(self, connection: AsyncConnection, cut: Cut, index: CursorIndex) -> bool:
        """Whether the planner takes the index that has the whole key, not one that leads by all equal rows again."""
        rows, first = select(literal(1)).select_from(self.policy.table), self.policy.key[0]
        batch = await explain(connection, rows.where(self.where(cut.batch)))
        next_ones = [
            await explain(connection, rows.where(self.where(one)).order_by(first).limit(1)) for one in cut.rest
        ]
        used = batch.indexes().union(*(one.indexes() for one in next_ones))
        return bool(used) and used <= index.by_key

    def _lines_of(self, ties: Ties) -> Lines | None:
        """Return where equal rows lie in the heap; None if the whole heap is the shorter way, for the others as well.

        What is read beside them is added up: once it is as much as the heap, all that is left goes along the pages.
        """
        heap = Heap(self.size)
        first, last = heap.line_of(ties.first), heap.line_of(ties.last) + self.size.lines_per_page - 1
        pages = (last - first + 1) / self.size.lines_per_page
        self._detours += max(0.0, pages - ties.rows / self.size.rows_per_page)
        if 2 * pages > self.size.longest or self._detours > self.size.longest:
            return None
        return Lines(first, last, self.size.storage)

    def _next_pages(self, interval: Interval, lines: Lines, rows: int) -> Cut:
        heap = Heap(self.size)
        last = heap.last_of_batch(lines.first, lines.last, rows)
        batch = replace(interval, lines=replace(lines, last=last))
        rest = replace(interval, lines=replace(lines, first=last + 1))
        return Cut(batch, (rest,) if last < lines.last else (), heap.rows_on(lines.first, last))

    def _along_all_pages(self, interval: Interval) -> Interval:
        return replace(interval, lines=Lines(0, max(0, Heap(self.size).last), self.size.storage))

    def along_pages(self, interval: Interval) -> Interval | None:
        """Go through the whole heap for what is left of the interval."""
        return None if interval.lines is not None else self._along_all_pages(interval)

    def as_it_is(self, interval: Interval) -> Interval:
        """Keys mean what they did; lines do as long as the files are the same."""
        is_gone = interval.lines is not None and interval.lines.storage != self.size.storage
        return replace(interval, lines=None) if is_gone else interval

    def is_dearer(self, fruitless: int) -> bool:
        """Compare the planner's prices."""
        return self.index is not None and fruitless * self.index.cost_per_row > self.size.cost

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Compare the key with both ends."""
        is_filter = interval.lines is not None
        upto = self._compare(operators.le, interval.upto, is_filter=is_filter)
        after = None if interval.after is None else self._compare(operators.gt, interval.after, is_filter=is_filter)
        inside = upto if after is None else and_(after, upto)
        if interval.lines is None:
            # First its bounds, where an index begins; then what it has of its own.
            return and_(inside, self._scope())
        # Not by the index, which would come by all equal rows again, those that are gone included.
        lines = rows_between(self.policy, self.size, interval.lines.first, interval.lines.last)
        return and_(inside.is_(true()), lines)

    def fraction(self, interval: Interval) -> float | None:
        """Keys do not tell how many rows lie between them."""
        del interval
        return None

    def _scope(self) -> ColumnElement[bool]:
        return self.policy.rows if self.index is None else self.index.scope

    def _most_ties(self, index: CursorIndex) -> int:
        """Return how many rows are read from the index at the price of all pages."""
        most = self.size.cost / index.cost_per_row if index.cost_per_row else inf
        return round(min(most, _MOST_TIES))

    def _compare(self, operator: OperatorType, position: Position, *, is_filter: bool) -> ColumnElement[bool]:
        columns = self.policy.key[: len(position)]
        values = [self.types.value(text, column) for text, column in zip(position, columns, strict=True)]
        if is_filter:
            # Made of the text once, and not again for each row.
            values = [select(value).scalar_subquery() for value in values]
        if len(position) == 1:
            return _condition(operator, columns[0], values[0])
        # No more: an index would begin where a comparison of the first column alone does, and come by all equal rows.
        return _condition(operator, tuple_(*columns), tuple_(*values))

    async def _histogram(self, connection: AsyncConnection, interval: Interval) -> list[str]:
        first = self.policy.key[0]
        name = self.policy.table
        of_column = (
            column("schemaname") == (name.schema or func.current_schema()),
            column("tablename") == name.name,
            column("attname") == first.name,
        )
        statistics = (
            select(column("histogram_bounds", Text)).select_from(_STATISTICS).where(*of_column).limit(1).subquery()
        )
        # Their own type is `anyarray`, which nothing but text can be made of.
        bound = self.types.many(cast(statistics.c.histogram_bounds, Text), first)
        if bound is None:
            return []
        inside = [bound < self.types.value(interval.upto[0], first)]
        if interval.after is not None:
            inside.append(bound > self.types.value(interval.after[0], first))
        found = await connection.scalars(
            select(cast(bound, Text)).select_from(statistics).where(*inside).order_by(bound)
        )
        return list(found)


def key_basis(policy: RetentionPolicy) -> str:
    """Return the table, and the columns of the key with their types: what positions along it refer to."""
    return f"{policy.table.fullname}: {', '.join(f'{one.name} {one.type}' for one in policy.key)}"


def _condition(operator: OperatorType, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = operator(left, right)
    return condition
