"""What the tests of retention do to a database, and ask it, in plain SQL."""

import typing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, cast, inspect, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase
from tests.integration.core.retention.tables import Shape, Tables

# Partition, version and place on the disk, and all the columns: equal if nobody has so much as rewritten the row.
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Database:
    engine: AsyncEngine
    drop_after: list[str] = field(default_factory=list[str])
    created: list[Table[Any]] = field(default_factory=list[Table[Any]])

    async def execute(self, *statements: str) -> None:
        """Run statements in a transaction of their own."""
        async with self.engine.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    async def count(self, rows: str) -> int:
        """Count the rows of what stands after FROM."""
        async with self.engine.begin() as connection:
            counted = await connection.exec_driver_sql(f"SELECT count(*) FROM {rows}")  # noqa: S608 - the test's own
            return int(counted.scalar_one())

    async def rows(self, model: type[DeclarativeBase], *where: ColumnElement[bool]) -> set[Row]:
        """Return a table's rows."""
        table = table_of(model)
        place = (cast(literal_column(name), Text) for name in ("tableoid", "xmin", "ctid"))
        columns = (*place, cast(table.table_valued(), Text))
        async with self.engine.begin() as connection:
            found = await connection.execute(select(*columns).select_from(table).where(*where))
            return {(row[0], row[1], row[2], row[3]) for row in found}

    async def create(self, model: type[Tables], *after: str) -> None:
        """Create a table, which is dropped after the test."""
        table = table_of(model)
        async with self.engine.begin() as connection:
            await connection.run_sync(table.create)
        self.created.append(table)
        await self.execute(*after)

    async def fill(self, shape: Shape) -> None:
        """Create a shape's table, and its rows."""
        await self.execute(*shape.before)
        await self.create(shape.model, *shape.after, shape.fill)


def table_of(model: type[DeclarativeBase]) -> "Table[Any]":
    """Return the table of a mapped class."""
    return typing.cast("Table[Any]", inspect(model).local_table)
