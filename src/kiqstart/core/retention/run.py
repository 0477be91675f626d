"""One worker's part in a run: opens it or finds it, works through pieces, waits for the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from logging import getLogger
from math import inf
from time import monotonic
from typing import Final, TypedDict, TypeVar

from sqlalchemy import false
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from kiqstart.core.retention.choice import WalkChoice, choose_walk, make_walk, open_walk
from kiqstart.core.retention.errors import PieceLostError
from kiqstart.core.retention.journal import Journal, Piece
from kiqstart.core.retention.load import LoadGate
from kiqstart.core.retention.pace import Pace
from kiqstart.core.retention.piece_runner import Observer, PieceRunner
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.progress import ProgressCallback, ProgressMeter
from kiqstart.core.retention.quarantine import Quarantine
from kiqstart.core.retention.reconnect import transact
from kiqstart.core.retention.settings import RetentionSettings
from kiqstart.core.retention.state import PieceState
from kiqstart.core.retention.step import Stepper
from kiqstart.core.retention.stretches import share_out
from kiqstart.core.retention.table import TableSize, read_table_size
from kiqstart.core.retention.transaction import rest, transaction
from kiqstart.core.retention.walk import Interval

T = TypeVar("T")

logger = getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.25
_SECONDS_TO_RELEASE: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """After how many rows, and how many seconds from its beginning, a run stops; None for no limit."""

    rows: int | None = None
    seconds: float | None = None


class RunOptions(TypedDict, total=False):
    """What `RetentionEngine.run` takes beside the policy, for those who hand it on."""

    run_id: str | None
    limits: RunLimits | None
    shards: int
    invite: Callable[[int], Awaitable[None]] | None
    progress: ProgressCallback | None
    stop: asyncio.Event | None


@dataclass(kw_only=True)
class Run:
    """A run of a policy, as one worker sees it."""

    sessions: async_sessionmaker[AsyncSession]
    policy: RetentionPolicy
    journal: Journal
    settings: RetentionSettings
    load: LoadGate
    stop: asyncio.Event
    limits: RunLimits = RunLimits()
    meter: ProgressMeter = field(default_factory=lambda: ProgressMeter(None))

    async def open(self, shards: int) -> int:
        """Find the run's pieces, or make them, and return how many there are to do.

        Raises:
            PolicyError: the policy cannot be run.
        """

        async def find_or_make(connection: AsyncConnection) -> list[Piece]:
            await self.journal.lock(connection)
            pieces = await self.journal.pieces(connection)
            if not pieces:
                await self._begin(connection, shards)
            elif not self._fits(pieces[0], size := await read_table_size(connection, self.policy.table)):
                logger.info("%s: the table or the cursor has changed, so all is gone through again", self.policy.name)
                walk = make_walk(self.policy, pieces[0].walk, size)
                whole = await walk.whole(connection)
                await self.journal.restart(connection, walk.basis, [whole] if whole else [])
            return await self.journal.pieces(connection)

        pieces = await self._transact(find_or_make)
        self.meter.begin(_deleted(pieces))
        return sum(not piece.is_done for piece in pieces)

    async def take_part(self) -> bool:
        """Work through pieces until there is none that nobody has, and return whether there was one."""

        async def claim(connection: AsyncConnection) -> PieceRunner | None:
            piece = await self.journal.claim(connection)
            return await self._runner(connection, piece) if piece else None

        has_worked = False
        while not self.stop.is_set():
            runner = await self._transact(claim)
            if runner is None:
                break
            has_worked = True
            try:
                await runner.run()
            except PieceLostError as error:
                # Whoever has it now counts what this worker has done, too.
                logger.warning("%s", error)
        return has_worked

    async def wait_for_others(self) -> list[Piece]:
        """Wait until all pieces are done, take over those of whoever died, and return them."""
        while True:
            pieces = await self._transact(self.journal.pieces)
            if not pieces:
                # A crash where commits do not wait for the disk, or a replica that lagged and took over, loses the last
                # ones: here the run's beginning, and all that it has done.
                logger.warning(
                    "%s: PostgreSQL has lost run %s, which begins again", self.policy.name, self.journal.run_id
                )
                await self.open(shards=1)
                continue
            if all(piece.is_done for piece in pieces) or self.stop.is_set():
                return pieces
            # Nobody can take a piece that a frozen worker still holds a lock on; the server ends that soon.
            if any(not piece.is_alive for piece in pieces if not piece.is_done) and await self.take_part():
                continue
            await self.meter.report(_deleted(pieces), _total(pieces), None)
            await rest(_SECONDS_BETWEEN_LOOKS, self.stop)

    async def release(self) -> None:
        """Let another worker go on at once, as far as the server can be reached."""
        with suppress(DBAPIError, OSError):
            async with asyncio.timeout(_SECONDS_TO_RELEASE), transaction(self.sessions) as connection:
                await self.journal.release(connection)

    async def _begin(self, connection: AsyncConnection, shards: int) -> None:
        choice = await choose_walk(connection, self.policy)
        left = [piece for piece in await self.journal.interrupted(connection) if self._fits(piece, choice.size)]
        if left:
            choice = replace(choice, kind=left[0].walk, reason=f"goes on with run {left[0].run_id}")
            await self.journal.take_on(connection, left[0].run_id)
        await self._quarantine().forget(connection)
        walk = await open_walk(connection, self.policy, choice.kind)
        whole = await walk.whole(connection)
        intervals = _stretches(left, whole)
        parts = await share_out(connection, walk, intervals, shards)
        end, time_limit = whole.upto if whole else None, self.limits.seconds
        states = [PieceState(todo=part, end=end, time_limit=time_limit) for part in parts]
        await self.journal.open(connection, choice, walk.basis, states, row_limit=self.limits.rows, resumed=bool(left))
        _log_choice(self.policy, choice)

    def _fits(self, piece: Piece, size: TableSize) -> bool:
        return piece.basis == make_walk(self.policy, piece.walk, size).basis

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        return await transact(self.sessions, work, wait=self.settings.reconnect_wait, stop=self.stop)

    async def _runner(self, connection: AsyncConnection, piece: Piece) -> PieceRunner:
        rate, time_limit = self.settings.rows_per_second, piece.state.time_limit
        rate_of_piece = rate / piece.pieces if rate else None
        budget = inf if time_limit is None else time_limit - piece.age
        quarantine = self._quarantine()
        stepper = Stepper(
            sessions=self.sessions,
            policy=self.policy,
            walk=await open_walk(connection, self.policy, piece.walk),
            journal=self.journal,
            number=piece.number,
            state=piece.state,
            settings=self.settings,
            pace=Pace(self.settings, rate_of_piece),
            quarantine=quarantine,
            left_alone=quarantine.leaves() if await quarantine.count(connection) else false(),
        )
        return PieceRunner(
            sessions=self.sessions,
            journal=self.journal,
            stepper=stepper,
            row_limit=piece.row_limit,
            rows_per_second=rate_of_piece,
            deadline=monotonic() + budget,
            settings=self.settings,
            load=self.load,
            stop=self.stop,
            observe=self._observer(piece),
        )

    def _observer(self, piece: Piece) -> Observer:
        async def observe(state: PieceState, fraction: float | None, waiting: str | None) -> None:
            if not self.meter.is_due:
                return
            deleted, total = state.deleted, piece.total
            if piece.pieces > 1:
                pieces = await self._transact(self.journal.pieces)
                deleted, total, fraction = _deleted(pieces), _total(pieces), None
            await self.meter.report(deleted, total, fraction, waiting=waiting)

        return observe

    def _quarantine(self) -> Quarantine:
        return Quarantine(policy=self.policy, seconds=self.settings.retry_failed_after)


def _stretches(left: Sequence[Piece], whole: Interval | None) -> list[Interval]:
    """What an interrupted run has left, and what lies past its end now; or all."""
    if whole is None:
        return []
    if not left:
        return [whole]
    ends = [piece.state.end for piece in left if piece.state.end is not None]
    return [
        *(interval for piece in left for interval in piece.state.left()),
        *(Interval(end, whole.upto) for end in ends[:1]),
    ]


def _deleted(pieces: Sequence[Piece]) -> int:
    return sum(piece.state.deleted for piece in pieces)


def _total(pieces: Sequence[Piece]) -> int:
    return sum(piece.total for piece in pieces)


def _log_choice(policy: RetentionPolicy, choice: WalkChoice) -> None:
    logger.info("%s: goes along the %s: %s", policy.name, choice.kind.described, choice.reason)
