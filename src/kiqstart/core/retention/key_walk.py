"""The walk along an index: finds the n-th row past the cursor in the key's order; the batch is all rows up to it."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Column,
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

from kiqstart.core.retention.policy import RetentionPolicy, WalkKind
from kiqstart.core.retention.walk import Interval, Position

_STATISTICS: Final = table(
    "pg_stats", column("schemaname"), column("tablename"), column("attname"), column("inherited")
)


@dataclass(frozen=True, kw_only=True)
class KeyWalk:
    """Goes along the policy's cursor.

    A position is a key, or its first column alone, which says that no row equal in it is left. Equal values of the
    first column are cut into batches by the rest of the key: an index on the first column alone does while no more
    than some batches' rows are equal in it, since each such cut sorts those that are left.
    """

    policy: RetentionPolicy
    kind: WalkKind = WalkKind.KEY

    @property
    def basis(self) -> str:
        """The table, and the columns of the key with their types."""
        return f"{self.policy.table.fullname}: {', '.join(f'{one.name} {one.type}' for one in self.policy.key)}"

    async def check_basis(self, connection: AsyncConnection) -> None:
        """Keys stay what they are wherever the rows lie."""
        del connection

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """End at the last row's value of the first column."""
        first = self.policy.key[0]
        rows = select(cast(first, Text)).where(self.policy.rows).order_by(first.desc()).limit(1)
        last = await connection.scalar(rows)
        return None if last is None else Interval(None, (last,))

    async def split(self, connection: AsyncConnection, interval: Interval, pieces: int) -> list[Interval]:
        """Cut at the bounds of the histogram that PostgreSQL keeps of the first column; without one, do not cut."""
        cuts = await self._histogram(connection, interval) if pieces > 1 else []
        pieces = min(pieces, len(cuts) + 1)
        chosen = [cuts[len(cuts) * number // pieces] for number in range(1, pieces)]
        ends: list[Position] = [*((cut,) for cut in dict.fromkeys(chosen)), interval.upto]
        return [Interval(after, upto) for after, upto in zip([interval.after, *ends[:-1]], ends, strict=True)]

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Position:
        """Find the n-th row's key; an index on the first column answers this alone unless equal values are cut."""
        first, *_ = self.policy.key
        inside = (self.policy.rows, self.where(interval))
        cut = select(first).where(*inside).order_by(first).offset(rows - 1).limit(2).subquery()
        # Outside, or every row that is stepped over would be made text.
        values = (await connection.scalars(select(cast(cut.columns[0], Text)))).all()
        if len(values) < 2:  # noqa: PLR2004 - the row at the cut and the one after it
            return interval.upto
        if values[0] != values[1]:
            return (values[0],)
        texts = (cast(one, Text) for one in self.policy.key)
        keys = select(*texts).where(*inside).order_by(*self.policy.key).offset(rows - 1).limit(1)
        # None: somebody else has deleted rows since.
        found = (await connection.execute(keys)).one_or_none()
        return tuple(found) if found else interval.upto

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Compare the key with both ends."""
        after = true() if interval.after is None else self._compare(operators.gt, operators.ge, interval.after)
        return and_(after, self._compare(operators.le, operators.le, interval.upto))

    def fraction(self, interval: Interval) -> float | None:
        """Keys do not tell how many rows lie between them."""
        del interval
        return None

    def _compare(self, operator: OperatorType, on_first: OperatorType, position: Position) -> ColumnElement[bool]:
        columns = self.policy.key[: len(position)]
        values = [_value(text, column) for text, column in zip(position, columns, strict=True)]
        if len(position) == 1:
            return _condition(operator, columns[0], values[0])
        # The comparison of the first columns follows from that of the keys, and is what an index is searched by.
        return and_(
            _condition(on_first, columns[0], values[0]), _condition(operator, tuple_(*columns), tuple_(*values))
        )

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
        # The column's own type is `anyarray`, which nothing but text can be made of.
        bounds = cast(cast(statistics.c.histogram_bounds, Text), ARRAY(first.type))
        bound = func.unnest(bounds).column_valued("bound", joins_implicitly=True)
        inside = [bound < _value(interval.upto[0], first)]
        if interval.after is not None:
            inside.append(bound > _value(interval.after[0], first))
        found = await connection.scalars(
            select(cast(bound, Text)).select_from(statistics).where(*inside).order_by(bound)
        )
        return list(found)


def _value(text: str, column: Column[Any]) -> ColumnElement[Any]:
    return cast(literal(text, Text), column.type)


def _condition(operator: OperatorType, left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = operator(left, right)
    return condition
