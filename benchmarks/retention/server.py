"""The PostgreSQL and the Redis that are measured, with databases of the benchmark's own."""

import os
import platform
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from sqlalchemy import make_url

from benchmarks.retention.connection import Connection, connect, fetch_int
from benchmarks.retention.results import Environment
from kiqstart.redis.client import delete_keys

_SETTINGS: Final = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
)
_WITH_FILE_COPY: Final = 150_000


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where the servers are. `prefix` begins the name of each database and of each key in Redis that is made."""

    database_url: str
    redis_url: str
    database: str
    redis: str
    prefix: str

    def url(self, database: str | None = None) -> str:
        """Return the URL of a database on the server, by default the one that was given."""
        url = make_url(self.database_url).set(drivername="postgresql")
        return (url.set(database=database) if database else url).render_as_string(hide_password=False)

    async def create(self, name: str, *, template: str = "template0") -> None:
        """Create a database as a copy of another one."""
        async with connect(self.url()) as connection:
            # File by file, not through the buffers and the log of what is measured next.
            version = await fetch_int(connection, "SELECT current_setting('server_version_num')")
            strategy = " STRATEGY file_copy" if version >= _WITH_FILE_COPY else ""
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{strategy}')

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        async with connect(self.url()) as connection:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @asynccontextmanager
    async def own_data(self) -> AsyncGenerator[None]:
        """Drop every database and delete every key of the prefix at the end."""
        try:
            yield
        finally:
            await self._drop_all()

    async def environment(self) -> Environment:
        """Return what is measured, and on what."""
        async with connect(self.url()) as connection:
            return Environment(
                database=self.database,
                redis=self.redis,
                python=platform.python_version(),
                cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
                settings={name: await _setting(connection, name) for name in _SETTINGS},
            )

    async def _drop_all(self) -> None:
        async with connect(self.url()) as connection:
            names = await connection.fetch(
                "SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)", self.prefix + "_"
            )
        for row in names:
            await self.drop(str(row["datname"]))
        redis = Redis.from_url(self.redis_url)
        await delete_keys(redis, self.prefix)
        await redis.aclose()


async def _setting(connection: Connection, name: str) -> str:
    (row,) = await connection.fetch("SELECT current_setting($1) AS value", name)
    return str(row["value"])
