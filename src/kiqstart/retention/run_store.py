"""Where runs are kept while they go on, and until some time after: the table `retention_runs`.

A shard of a run has one owner. Every batch writes the shard's state in the transaction that deletes, on condition that
it is still the owner's. So whatever is killed, and whoever comes back from the dead, no row is counted twice, and none
is deleted that is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import ShardLostError
from kiqstart.retention.planner import ScanChoice
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.shard import (
    RUNS,
    STATE_AS_TEXT,
    Shard,
    is_recent,
    read_shards,
    shard_columns,
    shard_of,
    unreadable,
)
from kiqstart.retention.state import ShardState

_KEPT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class RunStore:
    """One worker's hold on one run of a policy."""

    policy: str
    run_id: str
    takeover_after: float
    owner: UUID

    @classmethod
    def of(cls, policy: str, run_id: str, takeover_after: float) -> "RunStore":
        """Make one for a new worker."""
        return cls(policy=policy, run_id=run_id, takeover_after=takeover_after, owner=uuid4())

    async def lock(self, connection: AsyncConnection) -> None:
        """Let nobody else open a run of this policy until the transaction ends."""
        await connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"kiqstart retention {self.policy}", 0)))
        )

    async def shards(self, connection: AsyncConnection) -> list[Shard]:
        """Return the run's shards, in their order."""
        return await read_shards(connection, self.takeover_after, *self._run())

    async def interrupted(self, connection: AsyncConnection) -> list[Shard]:
        """Return the shards of the policy's last run if it has left any, and nobody alive has one."""
        last = (
            select(RUNS.c.run_id)
            .where(RUNS.c.policy == self.policy, RUNS.c.run_id != self.run_id)
            .order_by(RUNS.c.started_at.desc())
            .limit(1)
        )
        shards = await read_shards(
            connection,
            self.takeover_after,
            RUNS.c.policy == self.policy,
            RUNS.c.run_id == last.scalar_subquery(),
            ~RUNS.c.taken_on,
        )
        if any(shard.is_alive for shard in shards):
            return []
        return shards if any(shard.stopped is not StopReason.END for shard in shards) else []

    async def open(
        self,
        connection: AsyncConnection,
        choice: ScanChoice,
        basis: str,
        states: Sequence[ShardState],
        *,
        row_limit: int | None,
        resumed: bool,
    ) -> None:
        """Write the run's shards, and forget runs of long ago."""
        await connection.execute(delete(RUNS).where(RUNS.c.heartbeat_at < func.now() - literal(_KEPT_FOR)))
        limits = _share(row_limit, len(states))
        rows = [
            {
                "run_id": self.run_id,
                "piece": number,
                "policy": self.policy,
                "walk": choice.kind,
                "reason": choice.reason,
                "basis": basis,
                "resumed": resumed,
                "total": -(-choice.rows // len(states)),
                "pieces": len(states),
                "row_limit": limit,
                "state": state.to_json(),
            }
            for number, (state, limit) in enumerate(zip(states, limits, strict=True))
        ]
        await connection.execute(insert(RUNS), rows)

    async def take_on(self, connection: AsyncConnection, run_id: str) -> None:
        """Say that this run goes on with what another has left."""
        of_it = (RUNS.c.policy == self.policy, RUNS.c.run_id == run_id)
        await connection.execute(update(RUNS).where(*of_it).values(taken_on=True))

    async def restart(
        self, connection: AsyncConnection, kind: ScanKind, basis: str, states: Sequence[tuple[Shard, ShardState]]
    ) -> None:
        """Give shards other stretches, since positions or the policy mean something else; whoever has one loses it."""
        for shard, state in states:
            await connection.execute(
                update(RUNS)
                .where(*self._run(), RUNS.c.piece == shard.number)
                .values(walk=kind, basis=basis, state=state.to_json(), owner=None, stopped=None)
            )

    async def claim(self, connection: AsyncConnection) -> Shard | None:
        """Take a shard that is not done and that nobody else alive has."""
        free = (
            select(RUNS.c.piece)
            .where(
                *self._run(),
                RUNS.c.stopped.is_(None),
                ~RUNS.c.taken_on,
                # One's own: the connection was lost before the answer to the COMMIT that took it.
                or_(RUNS.c.owner.is_(None), RUNS.c.owner == self.owner, ~is_recent(self.takeover_after)),
            )
            .order_by(RUNS.c.piece)
            .limit(1)
            .with_for_update(skip_locked=True)
            .correlate(None)
        )
        taken = update(RUNS).where(*self._run(), RUNS.c.piece == free.scalar_subquery())
        taken = taken.values(owner=self.owner, heartbeat_at=func.clock_timestamp())
        row = (await connection.execute(taken.returning(*shard_columns(self.takeover_after)))).one_or_none()
        return None if row is None else shard_of(row)

    async def load(self, connection: AsyncConnection, number: int) -> ShardState:
        """Return where a shard stands.

        Raises:
            ShardLostError: another worker has it now.
            UnreadableRunError: somebody else has written there.
        """
        mine = select(STATE_AS_TEXT).where(*self._mine(number))
        state = await connection.scalar(mine)
        if state is None:
            raise ShardLostError(self.policy, self.run_id)
        try:
            return ShardState.from_json(state)
        except ValueError as error:
            raise unreadable(self.run_id, error) from None

    async def save(
        self,
        connection: AsyncConnection,
        number: int,
        state: ShardState,
        *,
        since: ShardState,
        reads: ScalarSelect[list[str]],
    ) -> list[str]:
        """Write where a shard stands that stood at `since` before, and return what `reads` is, seen after that.

        A server that crashes while commits do not wait for its disk loses the last ones, and a pool that connects anew
        does not tell. So the number of batches is looked at, too.

        Raises:
            ShardLostError: another worker has it now, or the server has lost a batch; the transaction must be rolled
                back, and the shard claimed again.
        """
        saved = await self._write(connection, number, since, reads, state=state.to_json(), owner=self.owner)
        return list(saved)

    async def finish(self, connection: AsyncConnection, number: int, state: ShardState, stopped: StopReason) -> None:
        """Write why a shard ended that stands there, and let it go.

        Raises:
            ShardLostError: as above.
        """
        await self._write(connection, number, state, null(), state=state.to_json(), owner=None, stopped=stopped)

    async def _write(
        self,
        connection: AsyncConnection,
        number: int,
        since: ShardState,
        reads: ColumnElement[Any],
        **values: object,
    ) -> Any:  # noqa: ANN401 - what is read
        stands_there = RUNS.c.state["batches"].as_integer() == since.batches
        save = update(RUNS).where(*self._mine(number), stands_there)
        save = save.values(heartbeat_at=func.clock_timestamp(), **values)
        saved = (await connection.execute(save.returning(reads))).one_or_none()
        if saved is None:
            raise ShardLostError(self.policy, self.run_id)
        return saved[0]

    async def heartbeat(self, connection: AsyncConnection) -> None:
        """Say that this worker is alive, while it waits."""
        await connection.execute(
            update(RUNS).where(*self._run(), RUNS.c.owner == self.owner).values(heartbeat_at=func.clock_timestamp())
        )

    async def release(self, connection: AsyncConnection) -> None:
        """Let the next worker go on at once."""
        await connection.execute(update(RUNS).where(*self._run(), RUNS.c.owner == self.owner).values(owner=None))

    def _run(self) -> tuple[ColumnElement[bool], ...]:
        return (RUNS.c.policy == self.policy, RUNS.c.run_id == self.run_id)

    def _mine(self, number: int) -> tuple[ColumnElement[bool], ...]:
        return (*self._run(), RUNS.c.piece == number, RUNS.c.owner == self.owner)


def _share(limit: int | None, parts: int) -> list[int | None]:
    """Share a limit out so that the parts add up to it."""
    if limit is None:
        return [None] * parts
    return [limit * (number + 1) // parts - limit * number // parts for number in range(parts)]
