"""Waits for a server that has gone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.faults import Fault, fault_of, first_line
from kiqstart.retention.transaction import Transactions, rest

T = TypeVar("T")

logger = getLogger(__name__)

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 2.0


@dataclass(kw_only=True)
class LossStreak:
    """Connections that were lost one after the other, without a batch that was done between them.

    The first is replaced at once. After the next ones come longer and longer pauses; after `longest` seconds it is not
    the network or a restart, but what the batch does.
    """

    longest: float
    most_between: float
    _batches: int = -1
    _begun: float = 0.0
    _count: int = 0

    def add(self, batches: int) -> float | None:
        """Count a loss after so many batches; return the seconds to rest before the next try, or None for no more."""
        now = monotonic()
        if batches != self._batches:
            self._batches, self._begun, self._count = batches, now, 0
            return 0.0
        if now - self._begun > self.longest:
            return None
        self._count += 1
        return min(self.most_between, _LONGEST_DELAY, _FIRST_DELAY * 2.0**self._count)


async def transact(
    transactions: Transactions,
    work: Callable[[AsyncConnection], Awaitable[T]],
    *,
    wait: float,
    stop: asyncio.Event,
) -> T:
    """Do something in a transaction, again and again while the server is gone or a table locked, for `wait` seconds.

    The work may be done twice: where the connection is lost in the COMMIT, nobody knows whether it was done.

    Raises:
        sqlalchemy.exc.DBAPIError: the server did not come back in time or before the event, or it is not gone.
        OSError: the same, where a connection was refused.
    """
    started, delay = monotonic(), _FIRST_DELAY
    while True:
        try:
            async with transactions.begin() as connection:
                done = await work(connection)
        except (DBAPIError, OSError) as error:
            is_locked = fault_of(error) is Fault.LOCKED
            is_over = monotonic() - started > wait or stop.is_set()
            if is_over or not (is_locked or fault_of(error) is Fault.LOST):
                raise
            if delay == _FIRST_DELAY:
                reason = first_line(error) if isinstance(error, DBAPIError) else error
                logger.warning("waiting for %s: %s", "a lock" if is_locked else "PostgreSQL, which is gone", reason)
            await rest(delay, stop)
            delay = min(2 * delay, _LONGEST_DELAY)
        else:
            if delay != _FIRST_DELAY:
                logger.info("went on after %.1f s", monotonic() - started)
            return done
