"""Connections for measuring: asyncpg, with neither pool nor ORM in between."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

import asyncpg


class Statement(Protocol):
    """A prepared statement."""

    async def fetch(self, *args: object) -> Sequence[Mapping[str, object]]:
        """Run it, and return its rows."""
        ...


class Connection(Protocol):
    """What is used of asyncpg's connection, which is not annotated. Outside a transaction each statement is its own."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement, and return its tag, say `DELETE 3`."""
        ...

    async def fetch(self, query: str, *args: object) -> Sequence[Mapping[str, object]]:
        """Run a query, and return its rows."""
        ...

    async def prepare(self, query: str) -> Statement:
        """Prepare a statement."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[Connection]:
    """Open a connection to the database of that URL (`postgresql://…`), and close it at the end."""
    connection = cast("Connection", await asyncpg.connect(url))
    try:
        yield connection
    finally:
        await connection.close()


async def fetch_int(connection: Connection, query: str, *args: object) -> int:
    """Return the single number that a query yields."""
    (row,) = await connection.fetch(query, *args)
    (value,) = row.values()
    return int(str(value))


def affected(tag: str) -> int:
    """Return the number of rows of a statement's tag."""
    return int(tag.rpartition(" ")[2])
