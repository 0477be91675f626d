"""Ways through a table. Both go forward only, so that no batch steps over the rows that the ones before it deleted."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    and_,
    cast,
    column,
    func,
    inspect,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import UserDefinedType

from kiqstart.core.retention.pace import PaceLimits

_ROWS = PaceLimits(first=1_000, floor=100, ceiling=20_000)
# 256 pages of 8 kB hold some 20,000 short rows.
_PAGES = PaceLimits(first=16, floor=1, ceiling=256)


class TupleId(UserDefinedType[str]):
    """PostgreSQL's `tid`, a row's place in the heap, written as text: `(page,line)`."""

    cache_ok = True

    def get_col_spec(self, **kw: object) -> str:
        """Name the type in a CAST."""
        del kw
        return "tid"


# Unqualified: a policy's predicate reaches other tables only inside subqueries.
ctid: ColumnElement[str] = column("ctid", TupleId())


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the table for one batch, and the part of the whole walk that is done after it (0 to 1)."""

    where: ColumnElement[bool]
    fraction: float


class Walker(Protocol):
    """One run's way through a table."""

    async def next_span(self, session: AsyncSession, size: int) -> Span | None:
        """Return the next stretch, of about `size` in the walk's unit, or None at the end."""
        ...


class Walk(Protocol):
    """A way through a table."""

    @property
    def limits(self) -> PaceLimits:
        """Return the sizes that its batches may have."""
        ...

    async def start(
        self, session: AsyncSession, model: type[DeclarativeBase], predicate: ColumnElement[bool]
    ) -> Walker:
        """Begin a run. It ends where the table ends now: rows that come later are the next run's."""
        ...


@dataclass(frozen=True)
class KeyRange:
    """Deletes by range of a key: finds the n-th row past the cursor in the key's order, then deletes all up to it.

    The first column needs an index; together the columns must be unique and not null, so that rows equal in the first
    are still cut into batches. An index on the first alone does while no more than some batches' rows are equal in it:
    each cut through equals sorts those that are left by the rest.
    """

    # Columns of any type.
    columns: tuple[InstrumentedAttribute[Any], ...]
    limits: PaceLimits = _ROWS

    async def start(
        self, session: AsyncSession, model: type[DeclarativeBase], predicate: ColumnElement[bool]
    ) -> Walker:
        """Find the first value of the first column and the last, where the walk will end."""
        del model
        first = self.columns[0]
        last = await session.scalar(select(first).where(predicate).order_by(first.desc()).limit(1))
        origin = await session.scalar(select(first).where(predicate).order_by(first).limit(1))
        return _KeyWalker(columns=self.columns, predicate=predicate, origin=_position(origin), last=last)


@dataclass
class _KeyWalker:
    columns: tuple[InstrumentedAttribute[Any], ...]
    predicate: ColumnElement[bool]
    origin: float
    # None: no row was there at the start.
    last: object
    # The key up to which all is done. The first column alone says that no row equal in it is left.
    cursor: tuple[object, ...] = ()

    async def next_span(self, session: AsyncSession, size: int) -> Span | None:
        if self.last is None or self.cursor == (self.last,):
            return None
        past = _compare(operators.gt, operators.ge, self.columns, self.cursor) if self.cursor else true()
        self.cursor = await self._bound(session, past, size)
        return Span(
            where=past & _compare(operators.le, operators.le, self.columns, self.cursor), fraction=self._fraction()
        )

    async def _bound(self, session: AsyncSession, past: ColumnElement[bool], size: int) -> tuple[object, ...]:
        # An index on the first column answers this alone, without a look at rows in pages that are all visible.
        first = self.columns[0]
        rows = (self.predicate, past, first <= literal(self.last, first.type))
        cut = (await session.scalars(select(first).where(*rows).order_by(first).offset(size - 1).limit(2))).all()
        if len(cut) < 2:  # noqa: PLR2004 - the row at the cut and the one after it
            return (self.last,)
        if cut[0] != cut[1]:
            return (cut[0],)
        keys = select(*self.columns).where(*rows).order_by(*self.columns).offset(size - 1).limit(1)
        # Empty: somebody else has deleted rows since.
        found = (await session.execute(keys)).one_or_none()
        return tuple(found) if found else (self.last,)

    def _fraction(self) -> float:
        if self.cursor == (self.last,):
            return 1.0
        length = _position(self.last) - self.origin
        return min(1.0, max(0.0, (_position(self.cursor[0]) - self.origin) / length)) if length else 0.0


def _compare(
    operator: OperatorType,
    on_first: OperatorType,
    columns: tuple[InstrumentedAttribute[Any], ...],
    key: tuple[object, ...],
) -> ColumnElement[bool]:
    """Compare the first columns of a row with a key of as many."""
    columns = columns[: len(key)]
    values = [literal(value, column.type) for value, column in zip(key, columns, strict=True)]
    first: ColumnElement[bool] = (operator if len(key) == 1 else on_first)(columns[0], values[0])
    if len(key) == 1:
        return first
    # `first` is implied by the comparison of the rows, and what an index on the first column is searched by.
    return and_(first, operator(tuple_(*columns), tuple_(*values)))


def _position(value: object) -> float:
    match value:
        case datetime():
            return value.timestamp()
        case UUID() | int() | float() | Decimal():
            return float(int(value) if isinstance(value, UUID) else value)
        case _:
            return 0.0


@dataclass(frozen=True)
class HeapPages:
    """Deletes by range of the heap's pages, in the order of the disk: no index is read and none is needed.

    It reads the whole table once, so it suits a large share of rows to delete, or a predicate without an index.
    """

    limits: PaceLimits = _PAGES

    async def start(
        self, session: AsyncSession, model: type[DeclarativeBase], predicate: ColumnElement[bool]
    ) -> Walker:
        """Find the number of pages, where the walk will end."""
        del predicate
        table = inspect(model).local_table
        name = session.get_bind().dialect.identifier_preparer.format_table(table)
        size = func.pg_relation_size(cast(literal(name, Text), REGCLASS), type_=BigInteger)
        pages = await session.scalar(select(size // cast(func.current_setting("block_size"), BigInteger)))
        return _PageWalker(pages=pages or 0)


@dataclass
class _PageWalker:
    pages: int
    page: int = 0

    async def next_span(self, session: AsyncSession, size: int) -> Span | None:
        del session
        if self.page >= self.pages:
            return None
        start, self.page = self.page, min(self.page + size, self.pages)
        return Span(where=and_(ctid >= _tid(start), ctid < _tid(self.page)), fraction=self.page / self.pages)


def _tid(page: int) -> ColumnElement[str]:
    return cast(literal(f"({page},0)", Text), TupleId())
