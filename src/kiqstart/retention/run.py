"""One worker's part in a run: opens it or finds it, works through shards, waits for the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import getLogger
from math import inf
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy import false
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.coverage import fingerprint, is_same_statement
from kiqstart.retention.errors import ShardLostError, TableRewrittenError
from kiqstart.retention.load import LoadGate
from kiqstart.retention.opening import Opened, RunOpener, is_of_table
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.pace import Pace
from kiqstart.retention.partitions import PartitionSweep
from kiqstart.retention.planner import ScanChoice, choose_scan
from kiqstart.retention.policy import PaceKind, RetentionPolicy
from kiqstart.retention.progress import ProgressMeter
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.reconnect import transact
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.run_store import RunStore
from kiqstart.retention.settings import RetentionSettings
from kiqstart.retention.shard import Shard
from kiqstart.retention.shard_runner import Observer, ShardRunner
from kiqstart.retention.state import ShardState
from kiqstart.retention.table import TableSize, read_table_size
from kiqstart.retention.throttle import Throttle
from kiqstart.retention.transaction import Transactions, rest

T = TypeVar("T")

logger = getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.25
_SECONDS_TO_RELEASE: Final = 5.0


@dataclass(kw_only=True)
class Run:
    """A run of a policy, as one worker sees it."""

    transactions: Transactions
    policy: RetentionPolicy
    run_store: RunStore
    settings: RetentionSettings
    load: LoadGate
    stop: asyncio.Event
    limits: RunLimits = field(default_factory=RunLimits)
    meter: ProgressMeter = field(default_factory=lambda: ProgressMeter(None))
    _partitions: tuple[str, ...] = ()
    _choice: ScanChoice | None = None
    _has_shard: bool = False
    # Whether the shard that this worker has is the run's only one.
    _is_alone: bool = False

    async def open(self, shards: int) -> int:
        """Find the run's shards, or make them, and return how many there are to do.

        Raises:
            PolicyError: the policy cannot be run.
        """
        await self._sweep()
        opened = await self._open(shards)
        self.meter.begin(opened.deleted)
        return opened.to_do

    async def take_part(self) -> bool:
        """Work through shards until there is none that nobody has, and return whether there was one."""
        has_worked = False
        while not self.stop.is_set():
            try:
                # Also if the server's answer is lost.
                self._has_shard = True
                runner = await self._transact(self._claim)
                if runner is None:
                    self._has_shard = False
                    break
                has_worked = True
                self._has_shard = await runner.run() is StopReason.STOPPED
                if self._is_alone:
                    break
            except ShardLostError as error:
                # Whoever has it now counts what this worker has done, too.
                logger.warning("%s", error)
            except TableRewrittenError:
                await self._open(shards=1)
        return has_worked

    async def wait_for_others(self) -> list[Shard]:
        """Wait until all shards are done, take over those of whoever died, and return them."""
        while True:
            shards = await self._transact(self.run_store.shards)
            if not shards:
                # A crash where commits do not wait for the disk, or a replica that lagged and took over, loses the last
                # ones: here the run's beginning, and all that it has done.
                logger.warning(
                    "%s: PostgreSQL has lost run %s, which begins again", self.policy.name, self.run_store.run_id
                )
                await self.open(shards=1)
                continue
            if all(shard.is_done for shard in shards) or self.stop.is_set():
                return shards
            # Nobody can take a shard that a frozen worker still holds a lock on; the server ends that soon.
            if any(not shard.is_alive for shard in shards if not shard.is_done) and await self.take_part():
                continue
            await self.meter.report(_deleted(shards), _total(shards), None)
            await rest(_SECONDS_BETWEEN_LOOKS, self.stop)

    async def release(self) -> None:
        """Let another worker go on at once, as far as the server can be reached."""
        if not self._has_shard:
            return
        # What cannot be told to the server soon, it learns by the worker's silence.
        with suppress(DBAPIError, OSError):
            async with asyncio.timeout(_SECONDS_TO_RELEASE), self.transactions.begin() as connection:
                await self.run_store.release(connection)

    async def _sweep(self) -> None:
        """Let whole partitions go, unless the run has begun or has a row limit, which these would not keep."""
        window = self.policy.window
        if self.policy.partitions is None or self.limits.rows is not None:
            return
        if window is not None and not window.is_open(datetime.now(UTC)):
            return

        async def is_new(connection: AsyncConnection) -> bool:
            await choose_scan(connection, self.policy)
            return not await self.run_store.shards(connection)

        if await self._transact(is_new):
            sweep = PartitionSweep(
                transactions=self.transactions, policy=self.policy, settings=self.settings, stop=self.stop
            )
            self._partitions = await sweep.run()

    async def _open(self, shards: int) -> Opened:
        opener = RunOpener(policy=self.policy, run_store=self.run_store, quarantine=self.quarantine, limits=self.limits)

        async def find_or_make(connection: AsyncConnection) -> Opened:
            return await opener.find_or_make(connection, shards, self._partitions)

        opened = await self._transact(find_or_make)
        self._choice = opened.choice or self._choice
        return opened

    async def _claim(self, connection: AsyncConnection) -> ShardRunner | None:
        shard = await self.run_store.claim(connection)
        if shard is None:
            return None
        size = await read_table_size(connection, self.policy.table)
        if not is_of_table(self.policy, shard, size):
            raise TableRewrittenError(self.policy.name)
        if not is_same_statement(shard.state.covers, fingerprint(self.policy)):
            await self.run_store.release(connection)
            logger.warning("%s: run %s is of another predicate than this worker's", self.policy.name, shard.run_id)
            return None
        choice = self._choice = self._choice or await choose_scan(connection, self.policy)
        self._is_alone = shard.shards == 1
        return await self._runner(connection, shard, choice, size)

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        return await transact(self.transactions, work, wait=self.settings.reconnect_wait, stop=self.stop)

    async def _runner(
        self, connection: AsyncConnection, shard: Shard, choice: ScanChoice, size: TableSize
    ) -> ShardRunner:
        rate, time_limit = self.settings.rows_per_second, shard.state.time_limit
        rate_of_shard = rate / shard.shards if rate else None
        budget = inf if time_limit is None else time_limit - shard.age
        quarantine = self.quarantine
        owned = OwnedShard(
            transactions=self.transactions,
            policy=self.policy,
            relation=choice.relation,
            run_store=self.run_store,
            number=shard.number,
            settings=self.settings,
            quarantine=quarantine,
            left_alone=quarantine.leaves() if await quarantine.count(connection) else false(),
            scan=choice.scan(self.policy, shard.scan, size),
            state=shard.state,
            pace=Pace(self.settings, rate_of_shard),
        )
        return ShardRunner(
            shard=owned,
            throttle=Throttle() if self.settings.pace is PaceKind.GENTLE else None,
            row_limit=shard.row_limit,
            rows_per_second=rate_of_shard,
            deadline=monotonic() + budget,
            window=self.policy.window,
            load=self.load,
            stop=self.stop,
            observe=self._observer(shard),
            # Shards are about equal.
            estimate_left=lambda state: (shard.total - state.deleted) * shard.shards,
        )

    def _observer(self, shard: Shard) -> Observer:
        async def observe(state: ShardState, fraction: float | None, waiting: str | None) -> None:
            if not self.meter.is_due:
                return
            deleted, total = state.deleted, shard.total
            if shard.shards > 1:
                shards = await self._transact(self.run_store.shards)
                deleted, total, fraction = _deleted(shards), _total(shards), None
            await self.meter.report(deleted, total, fraction, waiting=waiting)

        return observe

    @property
    def quarantine(self) -> Quarantine:
        """The policy's rows that are left alone."""
        return Quarantine(policy=self.policy, seconds=self.settings.retry_failed_after)


def _deleted(shards: Sequence[Shard]) -> int:
    return sum(shard.state.deleted for shard in shards)


def _total(shards: Sequence[Shard]) -> int:
    return sum(shard.total for shard in shards)
