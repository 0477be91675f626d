"""Where runs are kept while they go on, and until some time after: the table `retention_runs`.

A piece of a run has one owner. Every batch writes the piece's state in the transaction that deletes, on condition that
it is still the owner's. So whatever is killed, and whoever comes back from the dead, no row is counted twice, and none
is deleted that is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    case,
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

from kiqstart.core.retention.choice import WalkChoice
from kiqstart.core.retention.errors import PieceLostError
from kiqstart.core.retention.models import RetentionRun
from kiqstart.core.retention.policy import WalkKind
from kiqstart.core.retention.report import StopReason
from kiqstart.core.retention.state import PieceState

_KEPT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a run as it is kept, or all of it. `age` is the seconds from the run's beginning to now or its end."""

    run_id: str
    number: int
    pieces: int
    walk: WalkKind
    reason: str
    basis: str
    resumed: bool
    total: int
    row_limit: int | None
    state: PieceState
    age: float
    stopped: StopReason | None
    taken_on: bool
    is_alive: bool

    @property
    def is_done(self) -> bool:
        """Whether this run has nothing more to do with it."""
        return self.stopped is not None or self.taken_on

    @property
    def is_limited(self) -> bool:
        """Whether it came to a limit, or another run has the rest."""
        return self.taken_on or (self.stopped is not None and self.stopped is not StopReason.END)


@dataclass(frozen=True, kw_only=True)
class Journal:
    """One worker's hold on one run of a policy."""

    policy: str
    run_id: str
    takeover_after: float
    owner: UUID

    @classmethod
    def of(cls, policy: str, run_id: str, takeover_after: float) -> "Journal":
        """Make one for a new worker."""
        return cls(policy=policy, run_id=run_id, takeover_after=takeover_after, owner=uuid4())

    async def lock(self, connection: AsyncConnection) -> None:
        """Let nobody else open a run of this policy until the transaction ends."""
        await connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"kiqstart retention {self.policy}", 0)))
        )

    async def pieces(self, connection: AsyncConnection) -> list[Piece]:
        """Return the run's pieces, in their order."""
        return await self._read(connection, *self._run())

    async def interrupted(self, connection: AsyncConnection) -> list[Piece]:
        """Return the pieces of the policy's last run if it has left any, and nobody alive has one."""
        last = (
            select(RetentionRun.run_id)
            .where(RetentionRun.policy == self.policy, RetentionRun.run_id != self.run_id)
            .order_by(RetentionRun.started_at.desc())
            .limit(1)
        )
        pieces = await self._read(
            connection,
            RetentionRun.policy == self.policy,
            RetentionRun.run_id == last.scalar_subquery(),
            ~RetentionRun.taken_on,
        )
        if any(piece.is_alive for piece in pieces):
            return []
        return pieces if any(piece.stopped is not StopReason.END for piece in pieces) else []

    async def open(
        self,
        connection: AsyncConnection,
        choice: WalkChoice,
        basis: str,
        states: Sequence[PieceState],
        *,
        row_limit: int | None,
        resumed: bool,
    ) -> None:
        """Write the run's pieces, and forget runs of long ago."""
        await connection.execute(
            delete(RetentionRun).where(RetentionRun.heartbeat_at < func.now() - literal(_KEPT_FOR))
        )
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
        await connection.execute(insert(RetentionRun), rows)

    async def take_on(self, connection: AsyncConnection, run_id: str) -> None:
        """Say that this run goes on with what another has left."""
        of_it = (RetentionRun.policy == self.policy, RetentionRun.run_id == run_id)
        await connection.execute(update(RetentionRun).where(*of_it).values(taken_on=True))

    async def restart(
        self, connection: AsyncConnection, kind: WalkKind, basis: str, states: Sequence[tuple[Piece, PieceState]]
    ) -> None:
        """Give pieces other stretches, since positions or the policy mean something else; whoever has one loses it."""
        for piece, state in states:
            await connection.execute(
                update(RetentionRun)
                .where(*self._run(), RetentionRun.piece == piece.number)
                .values(walk=kind, basis=basis, state=state.to_json(), owner=None, stopped=None)
            )

    async def claim(self, connection: AsyncConnection) -> Piece | None:
        """Take a piece that is not done and that nobody else alive has."""
        free = (
            select(RetentionRun.piece)
            .where(
                *self._run(),
                RetentionRun.stopped.is_(None),
                ~RetentionRun.taken_on,
                # One's own: the connection was lost before the answer to the COMMIT that took it.
                or_(RetentionRun.owner.is_(None), RetentionRun.owner == self.owner, ~self._is_recent()),
            )
            .order_by(RetentionRun.piece)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        number = await connection.scalar(free)
        if number is None:
            return None
        await connection.execute(
            update(RetentionRun)
            .where(*self._run(), RetentionRun.piece == number)
            .values(owner=self.owner, heartbeat_at=func.clock_timestamp())
        )
        return (await self._read(connection, *self._run(), RetentionRun.piece == number))[0]

    async def load(self, connection: AsyncConnection, number: int) -> PieceState:
        """Return where a piece stands.

        Raises:
            PieceLostError: another worker has it now.
        """
        mine = select(RetentionRun.state).where(*self._mine(number))
        state = await connection.scalar(mine)
        if state is None:
            raise PieceLostError(self.policy, self.run_id)
        return PieceState.from_json(state)

    async def save(
        self,
        connection: AsyncConnection,
        number: int,
        state: PieceState,
        *,
        since: PieceState,
        stopped: StopReason | None = None,
        reads: ScalarSelect[str] | None = None,
    ) -> str | None:
        """Write where a piece stands that stood at `since` before, and return what `reads` is, seen after that.

        A server that crashes while commits do not wait for its disk loses the last ones, and a pool that connects anew
        does not tell. So the number of batches is looked at, too.

        Raises:
            PieceLostError: another worker has it now, or the server has lost a batch; the transaction must be rolled
                back, and the piece claimed again.
        """
        values = {
            "state": state.to_json(),
            "heartbeat_at": func.clock_timestamp(),
            "stopped": stopped,
            "owner": self.owner if stopped is None else None,
        }
        stands_there = RetentionRun.state["batches"].as_integer() == since.batches
        save = update(RetentionRun).where(*self._mine(number), stands_there).values(values)
        saved = (await connection.execute(save.returning(null() if reads is None else reads))).one_or_none()
        if saved is None:
            raise PieceLostError(self.policy, self.run_id)
        return saved[0]

    async def heartbeat(self, connection: AsyncConnection) -> None:
        """Say that this worker is alive, while it waits."""
        await connection.execute(
            update(RetentionRun)
            .where(*self._run(), RetentionRun.owner == self.owner)
            .values(heartbeat_at=func.clock_timestamp())
        )

    async def release(self, connection: AsyncConnection) -> None:
        """Let the next worker go on at once."""
        await connection.execute(
            update(RetentionRun).where(*self._run(), RetentionRun.owner == self.owner).values(owner=None)
        )

    def _run(self) -> tuple[ColumnElement[bool], ...]:
        return (RetentionRun.policy == self.policy, RetentionRun.run_id == self.run_id)

    def _mine(self, number: int) -> tuple[ColumnElement[bool], ...]:
        return (*self._run(), RetentionRun.piece == number, RetentionRun.owner == self.owner)

    def _is_recent(self) -> ColumnElement[bool]:
        # A clock that was set back leaves signs of life of a time that is yet to come.
        silence, now = literal(timedelta(seconds=self.takeover_after)), func.clock_timestamp()
        return RetentionRun.heartbeat_at.between(now - silence, now + silence)

    async def _read(self, connection: AsyncConnection, *where: ColumnElement[bool]) -> list[Piece]:
        now_or_end = case((RetentionRun.stopped.is_(None), func.clock_timestamp()), else_=RetentionRun.heartbeat_at)
        age = func.greatest(0, func.extract("epoch", now_or_end - RetentionRun.started_at))
        alive = RetentionRun.stopped.is_(None) & RetentionRun.owner.is_not(None) & self._is_recent()
        columns = (*RetentionRun.__table__.columns, age.label("age"), alive.label("is_alive"))
        rows = await connection.execute(select(*columns).where(*where).order_by(RetentionRun.piece))
        return [
            Piece(
                run_id=row.run_id,
                number=row.piece,
                pieces=row.pieces,
                walk=WalkKind(row.walk),
                reason=row.reason,
                basis=row.basis,
                resumed=row.resumed,
                total=row.total,
                row_limit=row.row_limit,
                state=PieceState.from_json(row.state),
                age=float(row.age),
                stopped=StopReason(row.stopped) if row.stopped else None,
                taken_on=row.taken_on,
                is_alive=row.is_alive,
            )
            for row in rows
        ]


def _share(limit: int | None, parts: int) -> list[int | None]:
    """Share a limit out so that the parts add up to it."""
    if limit is None:
        return [None] * parts
    return [limit * (number + 1) // parts - limit * number // parts for number in range(parts)]
