"""The tasks of the contestants on taskiq."""

import os
from functools import cache
from typing import TYPE_CHECKING

from taskiq import AsyncBroker

from benchmarks.throughput.peers.tally import count_run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


async def nothing() -> None:
    """Do nothing but be counted."""
    count_run()


async def payload(text: str) -> int:
    """Get an argument of some size."""
    count_run()
    return len(text)


async def statement() -> None:
    """Run one SQL statement, in a transaction of its own."""
    from sqlalchemy import text

    async with _engine().begin() as connection:
        await connection.execute(text("INSERT INTO benchmark_rows (value) VALUES (1)"))
    count_run()


def register(broker: AsyncBroker) -> None:
    """Make a broker know them."""
    broker.register_task(nothing, task_name="nothing")
    broker.register_task(payload, task_name="payload")
    broker.register_task(statement, task_name="statement")


@cache
def _engine() -> "AsyncEngine":
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(os.environ["BENCHMARK_DATABASE_URL"], pool_size=20)
