import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from kiqstart import AlembicDatabase
from kiqstart.retention import RetentionEngine


def _database(engine: AsyncEngine) -> AlembicDatabase:
    return AlembicDatabase(engine=engine, migrations=Path(), tables=[])


def _retention_of_sessions(engine: AsyncEngine) -> RetentionEngine:
    return RetentionEngine(async_sessionmaker(engine))


@pytest.mark.parametrize("owner_of", [_database, RetentionEngine, _retention_of_sessions])
def test_a_fork_that_closes_its_database_leaves_the_connections_of_its_parent(
    owner_of: Callable[[AsyncEngine], AlembicDatabase | RetentionEngine], database_url: str
) -> None:
    engine = create_async_engine(database_url)
    owner = owner_of(engine)

    async def ask() -> int:
        async with engine.connect() as connection:
            return int(str(await connection.scalar(text("SELECT pg_backend_pid()"))))

    with asyncio.Runner() as runner:
        before = runner.run(ask())
        child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(owner.close()))
        child.start()
        child.join(20)
        assert runner.run(ask()) == before
        runner.run(owner.close())
