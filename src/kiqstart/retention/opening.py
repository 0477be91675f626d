"""How a run begins, or goes on: which shards it has, and what they cover."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.coverage import all_of, coverage_of, fingerprint
from kiqstart.retention.faults import Fault, fault_of, refused_by_server
from kiqstart.retention.planner import ScanChoice, basis_of, choose_scan, may_go_on
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.run_store import RunStore
from kiqstart.retention.scan import Interval, Scan
from kiqstart.retention.shard import Shard
from kiqstart.retention.state import ShardState
from kiqstart.retention.table import TableSize
from kiqstart.retention.transaction import limit_statements

logger = getLogger(__name__)

_SECONDS_TO_FIND_END: Final = 10.0


class _NoEndError(Exception):
    """An index's last row is not found in time."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A run with its shards: how many rows went before, how many shards are to do, and by which way new ones go."""

    deleted: int
    to_do: int
    choice: ScanChoice | None = None


@dataclass(frozen=True, kw_only=True)
class RunOpener:
    """Makes a run's shards, or sees to it that those that there are cover what the policy names now."""

    policy: RetentionPolicy
    run_store: RunStore
    quarantine: Quarantine
    limits: RunLimits

    async def find_or_make(self, connection: AsyncConnection, most: int, partitions: tuple[str, ...]) -> Opened:
        """Make the shards of a run before which `partitions` went whole, or find them.

        Raises:
            PolicyError: the policy cannot be run.
        """
        await self.run_store.lock(connection)
        shards = await self.run_store.shards(connection)
        to_do = sum(not shard.is_done for shard in shards)
        deleted = sum(shard.state.deleted for shard in shards)
        if shards and not to_do:
            return Opened(deleted, 0)
        choice = await choose_scan(connection, self.policy)
        if not shards:
            return Opened(0, await self._begin(connection, choice, most, partitions), choice)
        return Opened(deleted, await self._go_on(connection, shards, choice) or to_do, choice)

    async def _begin(
        self, connection: AsyncConnection, choice: ScanChoice, shards: int, partitions: tuple[str, ...]
    ) -> int:
        """Make the run's shards, and return how many."""
        left = await self._interrupted(connection, choice)
        if left:
            choice = replace(choice, kind=left[0].scan, reason=f"resumes run {left[0].run_id}")
        scan = choice.scan(self.policy, choice.kind, choice.size)
        try:
            whole = await _find_end(connection, scan)
        except _NoEndError:
            left, choice = [], replace(choice, kind=ScanKind.PAGES, reason="the index's end is not found in time")
            scan = choice.scan(self.policy, choice.kind, choice.size)
            whole = await self._whole(connection, scan)
        if left:
            await self.run_store.take_on(connection, left[0].run_id)
        await self.quarantine.forget(connection)
        coverage = coverage_of([shard.state for shard in left], whole) if left else all_of(whole)
        covers, time_limit = fingerprint(self.policy), self.limits.seconds
        if choice.relation.own_references:
            shares = await coverage.from_the_end(connection, scan, choice.rows)
        else:
            shares = await coverage.share_out(connection, scan, shards)
        states = [ShardState(todo=share, share=share, covers=covers, time_limit=time_limit) for share in shares]
        states[0] = replace(states[0], partitions=partitions)
        limit, resumed = self.limits.rows, bool(left)
        await self.run_store.open(connection, choice, scan.basis, states, row_limit=limit, resumed=resumed)
        _log_choice(self.policy, choice)
        return len(states)

    async def _whole(self, connection: AsyncConnection, scan: Scan) -> Interval | None:
        with refused_by_server(self.policy.name):
            return await scan.whole(connection)

    async def _interrupted(self, connection: AsyncConnection, choice: ScanChoice) -> list[Shard]:
        """Return the last run's shards if their positions mean something for this one."""
        left = await self.run_store.interrupted(connection)
        if not left or not is_of_table(self.policy, left[0], choice.size):
            return []
        return left if may_go_on(self.policy, choice, left[0].scan) else []

    async def _go_on(self, connection: AsyncConnection, shards: Sequence[Shard], choice: ScanChoice) -> int:
        """See to it that the run's own shards cover what the policy names now, in the table as it is now.

        Returns:
            How many shards have other stretches now.
        """
        kind, covers = shards[0].scan, fingerprint(self.policy)
        fits = is_of_table(self.policy, shards[0], choice.size) and may_go_on(self.policy, choice, kind)
        if fits and all(shard.state.covers == covers for shard in shards):
            return 0
        scan = choice.scan(self.policy, kind if fits else choice.kind, choice.size)
        whole = await self._whole(connection, scan)
        coverage = coverage_of([shard.state for shard in shards], whole) if fits else all_of(whole)
        open_shards = [shard for shard in shards if not shard.is_limited]
        shares = await coverage.share_out(connection, scan, len(open_shards))
        shares += [()] * (len(open_shards) - len(shares))
        states = [
            (shard, shard.state.restarted(share, covers)) for shard, share in zip(open_shards, shares, strict=True)
        ]
        await self.run_store.restart(connection, scan.kind, scan.basis, states)
        what = "the policy's rows" if fits else "the table or the way through it"
        logger.info(
            "%s: %s changed since run %s began, so it comes to all of it", self.policy.name, what, self.run_store.run_id
        )
        return len(states)


def is_of_table(policy: RetentionPolicy, shard: Shard, size: TableSize) -> bool:
    """Whether a shard's positions mean something in the table as it is now."""
    return shard.basis == basis_of(policy, shard.scan, size)


async def _find_end(connection: AsyncConnection, scan: Scan) -> Interval | None:
    """Look for the end of a scan, for as long as may be: an index can be full of rows that are no more."""
    try:
        async with connection.begin_nested():
            await limit_statements(connection, _SECONDS_TO_FIND_END)
            return await scan.whole(connection)
    except DBAPIError as error:
        if fault_of(error) is Fault.SLOW and scan.kind is ScanKind.KEY:
            raise _NoEndError from None
        raise


def _log_choice(policy: RetentionPolicy, choice: ScanChoice) -> None:
    logger.info("%s: goes along the %s: %s", policy.name, choice.kind.described, choice.reason)
