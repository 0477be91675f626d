"""What the table of runs says."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.testing import eventually

RUN: Final = "run"
"""The id of the tests' runs."""

_COUNTED: Final = text("SELECT coalesce(sum((state ->> 'deleted')::int), 0) FROM retention_runs WHERE run_id = :run")


async def counted(pool: AsyncEngine) -> int:
    """Rows that the run has deleted so far."""
    async with pool.connect() as connection:
        return int((await connection.execute(_COUNTED, {"run": RUN})).scalar_one())


async def wait_until_counted(pool: AsyncEngine, rows: int) -> None:
    """Wait until the run has deleted that many."""

    async def is_reached() -> bool:
        return await counted(pool) >= rows

    await eventually(is_reached)
