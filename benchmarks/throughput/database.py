"""The table into which the real task writes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from os import getpid

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine


@asynccontextmanager
async def rows_database(server_url: str) -> AsyncGenerator[str]:
    """Create a database with that table, give its URL for asyncpg, and drop it at the end."""
    url = make_url(server_url).set(drivername="postgresql+asyncpg")
    own = url.set(database=f"kiqstart_benchmark_{getpid()}")
    # CREATE and DROP DATABASE refuse to run in a transaction.
    server = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with server.connect() as connection:
        await connection.execute(text(f'CREATE DATABASE "{own.database}"'))
    try:
        engine = create_async_engine(own)
        async with engine.begin() as connection:
            await connection.execute(
                text("CREATE TABLE benchmark_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, value int)")
            )
        await engine.dispose()
        yield own.render_as_string(hide_password=False)
    finally:
        async with server.connect() as connection:
            await connection.execute(text(f'DROP DATABASE "{own.database}" WITH (FORCE)'))
        await server.dispose()
