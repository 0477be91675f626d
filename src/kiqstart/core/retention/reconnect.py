"""Waits for a server that has gone."""

import asyncio
from collections.abc import Awaitable, Callable
from logging import getLogger
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from kiqstart.core.retention.faults import Fault, fault_of, first_line
from kiqstart.core.retention.transaction import rest, transaction

T = TypeVar("T")

logger = getLogger(__name__)

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 2.0


async def transact(
    sessions: async_sessionmaker[AsyncSession],
    work: Callable[[AsyncConnection], Awaitable[T]],
    *,
    wait: float,
    stop: asyncio.Event,
) -> T:
    """Do something in a transaction, again and again while the server is gone, for so many seconds at most.

    The work may be done twice: where the connection is lost in the COMMIT, nobody knows whether it was done.

    Raises:
        sqlalchemy.exc.DBAPIError: the server did not come back in time or before the event, or it is not gone.
        OSError: the same, where a connection was refused.
    """
    started, delay = monotonic(), _FIRST_DELAY
    while True:
        try:
            async with transaction(sessions) as connection:
                done = await work(connection)
        except (DBAPIError, OSError) as error:
            if fault_of(error) is not Fault.LOST or monotonic() - started > wait or stop.is_set():
                raise
            if delay == _FIRST_DELAY:
                reason = first_line(error) if isinstance(error, DBAPIError) else error
                logger.warning("PostgreSQL is gone, waiting for it: %s", reason)
            await rest(delay, stop)
            delay = min(2 * delay, _LONGEST_DELAY)
        else:
            if delay != _FIRST_DELAY:
                logger.info("PostgreSQL is back after %.1f s", monotonic() - started)
            return done
