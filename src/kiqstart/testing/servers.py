"""The PostgreSQL and the Redis that a test session talks to."""

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import make_url, text

from kiqstart.local import local_stack
from kiqstart.redis.client import delete_keys, server_information
from kiqstart.testing.queues import redis_client
from todo_service.infrastructure.database.base import Base
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.schema import upgrade
from todo_service.infrastructure.database.settings import DatabaseSettings


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
def migrated_database(server_url: str) -> Generator[str]:
    """Create a database with this version's schema, give its URL, and drop it at the end."""
    name = f"kiqstart_test_{uuid4().hex[:12]}"
    asyncio.run(_administer(server_url, f'CREATE DATABASE "{name}"'))
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    try:
        asyncio.run(_migrate(url))
        yield url
    finally:
        asyncio.run(_administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def empty_tables(database_url: str) -> None:
    """Delete all rows of the service's tables, and begin their ids anew."""
    engine = create_engine(database_settings(database_url))
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    async with engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    await engine.dispose()


async def delete_keys_of(redis_url: str, prefix: str) -> None:
    """Delete every Redis key of a key prefix."""
    redis = redis_client(redis_url)
    await delete_keys(redis, prefix)
    await redis.aclose()


def database_settings(url: str) -> DatabaseSettings:
    """Settings with that URL, whatever the environment says."""
    return DatabaseSettings(database_url=SecretStr(url))


async def _migrate(url: str) -> None:
    engine = create_engine(database_settings(url))
    await upgrade(engine)
    await engine.dispose()


async def _administer(server_url: str, statement: str) -> None:
    # CREATE and DROP DATABASE refuse to run in a transaction.
    engine = create_engine(database_settings(server_url)).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def _postgres_version(url: str) -> str:
    engine = create_engine(database_settings(url))
    async with engine.connect() as connection:
        version = await connection.scalar(text("SHOW server_version"))
    await engine.dispose()
    return f"PostgreSQL {version} (DATABASE_URL)"


async def _redis_version(url: str) -> str:
    redis = redis_client(url)
    version = (await server_information(redis, "server"))[0]["redis_version"]
    await redis.aclose()
    return f"Redis {version} (REDIS_URL)"
