"""One worker's part in a run: opens it or finds it, works through pieces, waits for the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from logging import getLogger
from math import inf
from time import monotonic
from typing import Final, TypedDict, TypeVar

from sqlalchemy import false
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.choice import WalkChoice, choose_walk, make_walk, may_go_on
from kiqstart.retention.coverage import all_of, coverage_of, fingerprint, is_same_statement
from kiqstart.retention.errors import PieceLostError, TableRewrittenError
from kiqstart.retention.faults import Fault, fault_of, refused_by_server
from kiqstart.retention.journal import Journal
from kiqstart.retention.load import LoadGate
from kiqstart.retention.owned_piece import OwnedPiece
from kiqstart.retention.pace import Pace
from kiqstart.retention.partitions import PartitionSweep
from kiqstart.retention.piece import Piece
from kiqstart.retention.piece_runner import Observer, PieceRunner
from kiqstart.retention.policy import PaceKind, RetentionPolicy, WalkKind
from kiqstart.retention.progress import ProgressCallback, ProgressMeter
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.reconnect import transact
from kiqstart.retention.report import StopReason
from kiqstart.retention.settings import RetentionSettings
from kiqstart.retention.state import PieceState
from kiqstart.retention.table import TableSize, read_table_size
from kiqstart.retention.throttle import Throttle
from kiqstart.retention.transaction import Transactions, limit_statements, rest
from kiqstart.retention.walk import Interval, Walk

T = TypeVar("T")

logger = getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.25
_SECONDS_TO_RELEASE: Final = 5.0
_SECONDS_TO_FIND_END: Final = 10.0


class _NoEndError(Exception):
    """An index's last row is not found in time."""


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

    transactions: Transactions
    policy: RetentionPolicy
    journal: Journal
    settings: RetentionSettings
    load: LoadGate
    stop: asyncio.Event
    limits: RunLimits = RunLimits()
    meter: ProgressMeter = field(default_factory=lambda: ProgressMeter(None))
    _partitions: tuple[str, ...] = ()
    _choice: WalkChoice | None = None
    _has_piece: bool = False

    async def open(self, shards: int) -> int:
        """Find the run's pieces, or make them, and return how many there are to do.

        Raises:
            PolicyError: the policy cannot be run.
        """
        await self._sweep()
        deleted, to_do = await self._find_or_make(shards)
        self.meter.begin(deleted)
        return to_do

    async def take_part(self) -> bool:
        """Work through pieces until there is none that nobody has, and return whether there was one."""
        has_worked = False
        while not self.stop.is_set():
            try:
                # Also if the server's answer is lost.
                self._has_piece = True
                runner = await self._transact(self._claim)
                if runner is None:
                    self._has_piece = False
                    break
                has_worked = True
                self._has_piece = await runner.run() is StopReason.STOPPED
            except PieceLostError as error:
                # Whoever has it now counts what this worker has done, too.
                logger.warning("%s", error)
            except TableRewrittenError:
                await self._find_or_make(shards=1)
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
        if not self._has_piece:
            return
        # What cannot be told to the server soon, it learns by the worker's silence.
        with suppress(DBAPIError, OSError):
            async with asyncio.timeout(_SECONDS_TO_RELEASE), self.transactions.begin() as connection:
                await self.journal.release(connection)

    async def _sweep(self) -> None:
        """Let whole partitions go, unless the run has begun or has a row limit, which these would not keep."""
        window = self.policy.window
        if self.policy.partitions is None or self.limits.rows is not None:
            return
        if window is not None and not window.is_open(datetime.now(UTC)):
            return

        async def is_new(connection: AsyncConnection) -> bool:
            await choose_walk(connection, self.policy)
            return not await self.journal.pieces(connection)

        if await self._transact(is_new):
            sweep = PartitionSweep(
                transactions=self.transactions, policy=self.policy, settings=self.settings, stop=self.stop
            )
            self._partitions = await sweep.run()

    async def _find_or_make(self, shards: int) -> tuple[int, int]:
        """Return how many rows went before, and how many pieces are to do."""

        async def find_or_make(connection: AsyncConnection) -> tuple[int, int]:
            await self.journal.lock(connection)
            pieces = await self.journal.pieces(connection)
            to_do = sum(not piece.is_done for piece in pieces)
            if pieces and not to_do:
                return _deleted(pieces), 0
            choice = self._choice = await choose_walk(connection, self.policy)
            if not pieces:
                return 0, await self._begin(connection, choice, shards)
            return _deleted(pieces), await self._go_on(connection, pieces, choice) or to_do

        return await self._transact(find_or_make)

    async def _begin(self, connection: AsyncConnection, choice: WalkChoice, shards: int) -> int:
        """Make the run's pieces, and return how many."""
        left = await self._interrupted(connection, choice)
        if left:
            choice = replace(choice, kind=left[0].walk, reason=f"goes on with run {left[0].run_id}")
        walk = choice.walk(self.policy, choice.kind, choice.size)
        try:
            whole = await _find_end(connection, walk)
        except _NoEndError:
            left, choice = [], replace(choice, kind=WalkKind.PAGES, reason="the index's end is not found in time")
            walk = choice.walk(self.policy, choice.kind, choice.size)
            whole = await self._whole(connection, walk)
        if left:
            await self.journal.take_on(connection, left[0].run_id)
        await self.quarantine.forget(connection)
        coverage = coverage_of([piece.state for piece in left], whole) if left else all_of(whole)
        covers, time_limit = fingerprint(self.policy), self.limits.seconds
        if choice.relation.own_references:
            shares = await coverage.from_the_end(connection, walk, choice.rows)
        else:
            shares = await coverage.share_out(connection, walk, shards)
        states = [PieceState(todo=share, share=share, covers=covers, time_limit=time_limit) for share in shares]
        states[0] = replace(states[0], partitions=self._partitions)
        await self.journal.open(connection, choice, walk.basis, states, row_limit=self.limits.rows, resumed=bool(left))
        _log_choice(self.policy, choice)
        return len(states)

    async def _whole(self, connection: AsyncConnection, walk: Walk) -> Interval | None:
        with refused_by_server(self.policy.name):
            return await walk.whole(connection)

    async def _interrupted(self, connection: AsyncConnection, choice: WalkChoice) -> list[Piece]:
        """Return the last run's pieces if their positions mean something for this one."""
        left = await self.journal.interrupted(connection)
        if not left or not self._fits(left[0], choice.size):
            return []
        return left if may_go_on(self.policy, choice, left[0].walk) else []

    async def _go_on(self, connection: AsyncConnection, pieces: Sequence[Piece], choice: WalkChoice) -> int:
        """See to it that the run's own pieces cover what the policy names now, in the table as it is now.

        Returns:
            How many pieces have other stretches now.
        """
        kind, covers = pieces[0].walk, fingerprint(self.policy)
        fits = self._fits(pieces[0], choice.size) and may_go_on(self.policy, choice, kind)
        if fits and all(piece.state.covers == covers for piece in pieces):
            return 0
        walk = choice.walk(self.policy, kind if fits else choice.kind, choice.size)
        whole = await self._whole(connection, walk)
        coverage = coverage_of([piece.state for piece in pieces], whole) if fits else all_of(whole)
        open_pieces = [piece for piece in pieces if not piece.is_limited]
        shares = await coverage.share_out(connection, walk, len(open_pieces))
        shares += [()] * (len(open_pieces) - len(shares))
        states = [
            (piece, piece.state.restarted(share, covers)) for piece, share in zip(open_pieces, shares, strict=True)
        ]
        await self.journal.restart(connection, walk.kind, walk.basis, states)
        what = "the policy's rows" if fits else "the table or the way through it"
        logger.info(
            "%s: %s changed since run %s began, so it comes to all of it", self.policy.name, what, self.journal.run_id
        )
        return len(states)

    async def _claim(self, connection: AsyncConnection) -> PieceRunner | None:
        piece = await self.journal.claim(connection)
        if piece is None:
            return None
        size = await read_table_size(connection, self.policy.table)
        if not self._fits(piece, size):
            raise TableRewrittenError(self.policy.name)
        if not is_same_statement(piece.state.covers, fingerprint(self.policy)):
            await self.journal.release(connection)
            logger.warning("%s: run %s is of another predicate than this worker's", self.policy.name, piece.run_id)
            return None
        choice = self._choice = self._choice or await choose_walk(connection, self.policy)
        return await self._runner(connection, piece, choice, size)

    def _fits(self, piece: Piece, size: TableSize) -> bool:
        return piece.basis == make_walk(self.policy, piece.walk, size).basis

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        return await transact(self.transactions, work, wait=self.settings.reconnect_wait, stop=self.stop)

    async def _runner(
        self, connection: AsyncConnection, piece: Piece, choice: WalkChoice, size: TableSize
    ) -> PieceRunner:
        rate, time_limit = self.settings.rows_per_second, piece.state.time_limit
        rate_of_piece = rate / piece.pieces if rate else None
        budget = inf if time_limit is None else time_limit - piece.age
        quarantine = self.quarantine
        owned = OwnedPiece(
            transactions=self.transactions,
            policy=self.policy,
            relation=choice.relation,
            journal=self.journal,
            number=piece.number,
            settings=self.settings,
            quarantine=quarantine,
            left_alone=quarantine.leaves() if await quarantine.count(connection) else false(),
            walk=choice.walk(self.policy, piece.walk, size),
            state=piece.state,
            pace=Pace(self.settings, rate_of_piece),
        )
        return PieceRunner(
            piece=owned,
            throttle=Throttle() if self.settings.pace is PaceKind.GENTLE else None,
            row_limit=piece.row_limit,
            rows_per_second=rate_of_piece,
            deadline=monotonic() + budget,
            window=self.policy.window,
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

    @property
    def quarantine(self) -> Quarantine:
        """The policy's rows that are left alone."""
        return Quarantine(policy=self.policy, seconds=self.settings.retry_failed_after)


async def _find_end(connection: AsyncConnection, walk: Walk) -> Interval | None:
    """Look for the end of a walk, for as long as may be: an index can be full of rows that are no more."""
    try:
        async with connection.begin_nested():
            await limit_statements(connection, _SECONDS_TO_FIND_END)
            return await walk.whole(connection)
    except DBAPIError as error:
        if fault_of(error) is Fault.SLOW and walk.kind is WalkKind.KEY:
            raise _NoEndError from None
        raise


def _deleted(pieces: Sequence[Piece]) -> int:
    return sum(piece.state.deleted for piece in pieces)


def _total(pieces: Sequence[Piece]) -> int:
    return sum(piece.total for piece in pieces)


def _log_choice(policy: RetentionPolicy, choice: WalkChoice) -> None:
    logger.info("%s: goes along the %s: %s", policy.name, choice.kind.described, choice.reason)
