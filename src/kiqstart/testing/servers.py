"""The PostgreSQL and the Redis that a test session talks to."""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

from kiqstart.local import local_stack
from kiqstart.redis.client import delete_keys, server_information
from kiqstart.testing.queues import redis_client


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where the servers are, and what they are.

    `redis_url` is None where no Redis can be had; `redis` then says what to install.
    """

    database_url: str
    redis_url: str | None
    database: str
    redis: str


@contextmanager
def running_servers(home: Path) -> Generator[Servers]:
    """Give the servers of DATABASE_URL and REDIS_URL, and for whichever is not set one of the local stack in `home`."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    with local_stack(home, postgres=database_url is None, redis=redis_url is None) as stack:
        yield Servers(
            database_url=database_url or str(stack.database_url),
            redis_url=redis_url or stack.redis_url,
            database=stack.database_server or asyncio.run(_postgres_version(str(database_url))),
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
