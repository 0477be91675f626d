"""Lets whole partitions go that have expired, before a run goes along the rows of the others."""

import asyncio
from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.expired_partitions import Partition, expired_partitions, has_other_rows
from kiqstart.retention.faults import Fault, fault_of, first_line
from kiqstart.retention.policy import PartitionAction, RetentionPolicy
from kiqstart.retention.reconnect import transact
from kiqstart.retention.settings import RetentionSettings
from kiqstart.retention.table import qualified_name
from kiqstart.retention.transaction import Limits, Transactions, rest

logger = getLogger(__name__)

_SECONDS_TO_SCAN: Final = 10.0
_SECONDS_BETWEEN: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class PartitionSweep:
    """Detaches or drops the expired partitions of a policy's table, each in a transaction of its own.

    A partition's bounds prove that each row that it could have is past the cursor's limit, so an empty one for later is
    safe. What else the predicate asks for is looked up in its rows, while nobody can write to it. Where others hold
    locks, or something depends on the partition, it stays, and its rows go in batches.
    """

    transactions: Transactions
    policy: RetentionPolicy
    settings: RetentionSettings
    stop: asyncio.Event

    async def run(self) -> tuple[str, ...]:
        """Return those that went, with about how many rows each had.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a partition.
            OSError: the server did not come back in time.
        """
        left = await transact(self.transactions, self._expired, wait=self.settings.reconnect_wait, stop=self.stop)
        gone: list[str] = []
        deadline = monotonic() + self.settings.locked_wait
        while left and not self.stop.is_set():
            left = [one for one in left if not await self._let_go(one, gone)]
            if left and monotonic() > deadline:
                names = ", ".join(one.name for one in left)
                logger.warning("%s: locked, so their rows go in batches: %s", self.policy.name, names)
                break
        return tuple(gone)

    async def _let_go(self, partition: Partition, gone: list[str]) -> bool:
        """Return whether the partition need not be tried again."""
        limits = Limits(statement=_SECONDS_TO_SCAN, lock=self.settings.lock_timeout, idle=self.settings.takeover_after)
        is_settled = True
        try:
            async with self.transactions.begin(limits) as connection:
                has_gone = await self._try(connection, partition)
        except (DBAPIError, OSError) as error:
            is_settled = fault_of(error) not in {Fault.LOCKED, Fault.LOST}
            if is_settled:
                reason = first_line(error) if isinstance(error, DBAPIError) else error
                logger.warning("%s: %s stays, its rows go in batches: %s", self.policy.name, partition.name, reason)
        else:
            if has_gone:
                gone.append(str(partition))
                logger.info("%s: %s: %s", self.policy.name, self.policy.partitions, partition)
        # Whoever waited for the table's lock comes first.
        await rest(_SECONDS_BETWEEN, self.stop)
        return is_settled

    async def _try(self, connection: AsyncConnection, partition: Partition) -> bool:
        table = qualified_name(connection, self.policy.table)
        # Nobody writes to it from here on. Readers go on while its rows are looked at.
        await connection.exec_driver_sql(f"LOCK TABLE {partition.name} IN SHARE MODE")
        if partition not in await self._expired(connection) or await has_other_rows(connection, self.policy, partition):
            return False
        await connection.exec_driver_sql(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")
        if self.policy.partitions is PartitionAction.DROP:
            await connection.exec_driver_sql(f"DROP TABLE {partition.name}")
        else:
            await connection.exec_driver_sql(f"ALTER TABLE {table} DETACH PARTITION {partition.name}")
        return True

    async def _expired(self, connection: AsyncConnection) -> list[Partition]:
        return await expired_partitions(connection, self.policy)
