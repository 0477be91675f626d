"""A database and Redis keys of the demo's own, on whatever servers there are; both are gone afterwards."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart import SchemaOutOfDateError
from kiqstart.broker import RedisSettings
from kiqstart.cli.signals import raise_swallowed_cancellation
from kiqstart.redis.client import check_redis, create_redis, delete_keys
from todo_service.demo.errors import DemoError
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings


@asynccontextmanager
async def own_database(settings: DatabaseSettings, name: str) -> AsyncGenerator[str]:
    """Create the database `name` (letters, digits and underscores) on that server, give its URL, and drop it.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
        DemoError: the account may not create databases.
    """
    # CREATE and DROP DATABASE refuse to run in a transaction.
    engine = create_engine(settings).execution_options(isolation_level="AUTOCOMMIT")
    try:
        await _check_reachable(engine)
        try:
            await _to_its_end(_create(engine, name))
            yield settings.parsed_url().with_database(name)
        finally:
            await _execute(engine, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await engine.dispose()


@asynccontextmanager
async def own_keys(settings: RedisSettings, prefix: str) -> AsyncGenerator[str]:
    """Give the server's version, and delete every key with `prefix` in its name at the end.

    Raises:
        RedisUnavailableError: Redis cannot be used.
    """
    redis = create_redis(settings)
    try:
        await check_redis(redis, settings.address)
        try:
            version = str((await redis.info("server"))["redis_version"])
            raise_swallowed_cancellation()
            yield f"Redis {version}"
        finally:
            await delete_keys(redis, prefix)
    finally:
        await redis.aclose()


async def _check_reachable(engine: AsyncEngine) -> None:
    # The check's message about an unreachable server is the one that is wanted; the schema is nobody's concern here.
    try:
        await service_database(engine).check_schema()
    except SchemaOutOfDateError:
        return


async def _create(engine: AsyncEngine, name: str) -> None:
    try:
        # From template0, since nobody else can be connected to that one.
        await _execute(engine, f'CREATE DATABASE "{name}" TEMPLATE template0')
    except DBAPIError as error:
        reason = str(error.driver_exception).partition("\n")[0]
        raise DemoError(
            f"cannot create a database for the demo on the server of DATABASE_URL: {reason}; "
            "name an account that may (ALTER ROLE … CREATEDB), or unset DATABASE_URL"
        ) from None


async def _execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(statement))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Let work end that would otherwise go on in the server after a Ctrl-C here."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
