"""The heap, as both scans go through it: lines, counted through all pages as if each were full of the smallest rows.

A line of a partitioned table is that line of every partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Text, and_, cast, column, func, literal, select, tuple_
from sqlalchemy.types import UserDefinedType

from kiqstart.retention.conjuncts import pruning_bound
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.table import TableSize


class TupleId(UserDefinedType[str]):
    """PostgreSQL's `tid`, a row's place in the heap, written as text: `(page,line)`."""

    cache_ok = True

    def get_col_spec(self, **kw: object) -> str:
        """Name the type in a CAST."""
        del kw
        return "tid"


# Unqualified: a policy's predicate reaches other tables only inside subqueries.
ctid: Final[ColumnElement[str]] = column("ctid", TupleId())
tableoid: Final[ColumnElement[int]] = column("tableoid")


# A row's partition and its place in it.
Place = tuple[int, str]


def is_at(places: Sequence[Place]) -> ColumnElement[bool]:
    """Return the condition that a row is at one of these places."""
    tables = cast([table for table, _ in places], ARRAY(BigInteger))
    tids = cast(cast([tid for _, tid in places], ARRAY(Text)), ARRAY(TupleId()))
    pairs = (
        func.unnest(tables, tids)
        .table_valued(column("t", BigInteger), column("c", TupleId()), name="place")
        .render_derived()
    )
    # The place alone would name a row of each partition.
    return (ctid == func.any(tids)) & tuple_(cast(tableoid, BigInteger), ctid).in_(select(pairs.c.t, pairs.c.c))


def rows_between(policy: RetentionPolicy, size: TableSize, first: int, last: int) -> ColumnElement[bool]:
    """Return the condition that a row lies on these lines, of partitions that may have the policy's rows."""
    between, bound = Heap(size).between(first, last), _bound_of_partitions(policy, size)
    return between if bound is None else and_(between, bound)


def leaves_out_partitions(policy: RetentionPolicy, size: TableSize) -> bool:
    """Whether `rows_between` reads only those partitions whose bounds allow for the policy's rows."""
    return _bound_of_partitions(policy, size) is not None


def _bound_of_partitions(policy: RetentionPolicy, size: TableSize) -> ColumnElement[bool] | None:
    column = next((one for one in policy.table.columns if one.name == size.by_range_of), None)
    return None if column is None else pruning_bound(policy.rows, column)


@dataclass(frozen=True, slots=True)
class Heap:
    """The lines of a table of that size."""

    size: TableSize

    @property
    def last(self) -> int:
        """The last line of the longest partition's last page; -1 if there is no page."""
        return self.size.longest * self.size.lines_per_page - 1

    def last_of_batch(self, first: int, last: int, rows: int) -> int:
        """Go on by as many pages as hold so many rows on average, or by so many lines where that is less than one."""
        pages, lines = round(rows / self.size.rows_per_page), self.size.lines_per_page
        end = first + rows if pages < 1 else (first // lines + pages) * lines
        return min(end - 1, last)

    def rows_on(self, first: int, last: int) -> int | None:
        """Return about how many rows these lines have; None for less than a page, of whose lines most may be empty."""
        pages = (last - first + 1) / self.size.lines_per_page
        return round(pages * self.size.rows_per_page) if pages >= 1 else None

    def between(self, first: int, last: int) -> ColumnElement[bool]:
        """Return the condition that a row lies on these lines, the last included."""
        return and_(ctid >= self._tid(first), ctid <= self._tid(last))

    def line_of(self, tid: str) -> int:
        """Return the line of a place, of which the page is enough."""
        return int(tid.strip("()").partition(",")[0]) * self.size.lines_per_page

    def line_after(self, tid: str, rows: int, rows_per_page: float) -> int:
        """Return the line that lies so many rows after a place."""
        page, number = (int(part) for part in tid.strip("()").split(","))
        pages, lines = divmod(number + rows, rows_per_page)
        return (page + int(pages)) * self.size.lines_per_page + int(lines)

    def _tid(self, line: int) -> ColumnElement[str]:
        page, number = divmod(line, self.size.lines_per_page)
        return cast(literal(f"({page},{number})", Text), TupleId())
