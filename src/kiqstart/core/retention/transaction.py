"""Transactions, and what must not be cut off in the middle of one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

T = TypeVar("T")


@asynccontextmanager
async def transaction(sessions: async_sessionmaker[AsyncSession]) -> AsyncGenerator[AsyncConnection]:
    """A transaction of its own, on a connection: only its results tell the number of rows."""
    async with sessions.begin() as session:
        yield await session.connection()


async def to_its_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run something to its end although the caller is cancelled, then let the cancellation go on.

    A second cancellation cuts it off.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        raise


async def rest(seconds: float, stop: asyncio.Event) -> None:
    """Wait so long, or until the event."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
