"""What the tests of retention do to a database, and ask it, in plain SQL."""

import typing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, cast, inspect, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase
from tests.kiqstart.integration.retention.shapes import Shape
from tests.kiqstart.integration.retention.tables import Tables

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

    async def alone(self, statement: str) -> None:
        """Run a statement that no transaction may surround."""
        async with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.exec_driver_sql(statement)

    async def value(self, query: str) -> object:
        """Return the only column of the only row."""
        async with self.engine.begin() as connection:
            return (await connection.exec_driver_sql(query)).scalar_one()

    async def count(self, rows: str) -> int:
        """Count the rows of what stands after FROM."""
        return typing.cast("int", await self.value(f"SELECT count(*) FROM {rows}"))  # noqa: S608 - the test's own

    async def waiting_for_locks(self) -> int:
        """Count the connections that wait for others' locks."""
        return await self.count("pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    async def rows(self, model: type[DeclarativeBase], *where: ColumnElement[bool]) -> set[Row]:
        """Return a table's rows."""
        table = table_of(model)
        place = (cast(literal_column(name), Text) for name in ("tableoid", "xmin", "ctid"))
        columns = (*place, cast(table.table_valued(), Text))
        async with self.engine.begin() as connection:
            found = await connection.execute(select(*columns).select_from(table).where(*where))
            return {(row[0], row[1], row[2], row[3]) for row in found}

    async def before_delete(self, table: str, body: str) -> None:
        """Add a trigger that runs some PL/pgSQL before each row is deleted; it is dropped after the test."""
        self.drop_after[:0] = [f"DROP TRIGGER IF EXISTS refuse ON {table}", "DROP FUNCTION IF EXISTS refuse"]
        await self.execute(
            f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN OLD; END $$",
            f"CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
        )

    async def create(self, model: type[Tables], *after: str) -> None:
        """Create a table, which is dropped after the test."""
        table = table_of(model)
        async with self.engine.begin() as connection:
            await connection.run_sync(table.create)
        self.created.append(table)
        await self.execute(*after)

    async def drop(self, model: type[Tables]) -> None:
        """Drop a table now."""
        async with self.engine.begin() as connection:
            await connection.run_sync(table_of(model).drop)

    async def fill(self, shape: Shape) -> None:
        """Create a shape's table, and its rows."""
        await self.execute(*shape.before)
        await self.create(shape.model, *shape.after, shape.fill)


def table_of(model: type[DeclarativeBase]) -> "Table[Any]":
    """Return the table of a mapped class."""
    return typing.cast("Table[Any]", inspect(model).local_table)
