"""The PostgreSQL and the Redis that a test session talks to."""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

from kiqstart.local import LocalStackError, local_stack
from kiqstart.redis.client import delete_keys, server_information
from kiqstart.testing.queues import redis_client

_NONE: Final = "PostgreSQL: this application has no database, so none was started"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where the servers are, and what they are.

    `redis_url` is None where no Redis can be had; `redis` then says what to install. `postgres_url` is None where the
    application has no database.
    """

    postgres_url: str | None
    redis_url: str | None
    database: str
    redis: str

    @property
    def database_url(self) -> str:
        """Where PostgreSQL is.

        Raises:
            LocalStackError: none was asked for.
        """
        if self.postgres_url is None:
            raise LocalStackError(self.database)
        return self.postgres_url


@contextmanager
def running_servers(home: Path, *, postgres: bool = True) -> Generator[Servers]:
    """Give the servers of DATABASE_URL and REDIS_URL, and for whichever is not set one of the local stack in `home`.

    Without `postgres`, PostgreSQL is neither started nor asked for.
    """
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    with local_stack(home, postgres=postgres and database_url is None, redis=redis_url is None) as stack:
        database = stack.database_server if postgres else _NONE
        yield Servers(
            postgres_url=(database_url or stack.database_url) if postgres else None,
            redis_url=redis_url or stack.redis_url,
            database=database or asyncio.run(_postgres_version(str(database_url))),
            redis=stack.redis_server or stack.redis_missing or asyncio.run(_redis_version(str(redis_url))),
        )


@contextmanager
def own_database(server_url: str) -> Generator[str]:
    """Create a database, give its URL, and drop it at the end."""
    name = f"kiqstart_test_{uuid4().hex[:12]}"
    asyncio.run(_administer(server_url, f'CREATE DATABASE "{name}"'))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def delete_keys_of(redis_url: str, prefix: str) -> None:
    """Delete every Redis key of a key prefix."""
    redis = redis_client(redis_url)
    await delete_keys(redis, prefix)
    await redis.aclose()


async def _administer(server_url: str, statement: str) -> None:
    async with _connected(server_url) as connection:
        await connection.execute(statement)


async def _postgres_version(url: str) -> str:
    async with _connected(url) as connection:
        return f"PostgreSQL {await connection.fetchval('SHOW server_version')} (DATABASE_URL)"


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Any]:
    # Without SQLAlchemy, whose name the URL may have of its driver.
    connection = cast("Any", await asyncpg.connect(url.replace("+asyncpg", "", 1)))
    try:
        yield connection
    finally:
        await connection.close()


async def _redis_version(url: str) -> str:
    redis = redis_client(url)
    version = (await server_information(redis, "server"))[0]["redis_version"]
    await redis.aclose()
    return f"Redis {version} (REDIS_URL)"
