"""How a run begins, or goes on: which pieces it has, and what they cover."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.choice import WalkChoice, choose_walk, make_walk, may_go_on
from kiqstart.retention.coverage import all_of, coverage_of, fingerprint
from kiqstart.retention.faults import Fault, fault_of, refused_by_server
from kiqstart.retention.journal import Journal
from kiqstart.retention.piece import Piece
from kiqstart.retention.policy import RetentionPolicy, WalkKind
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.state import PieceState
from kiqstart.retention.table import TableSize
from kiqstart.retention.transaction import limit_statements
from kiqstart.retention.walk import Interval, Walk

logger = getLogger(__name__)

_SECONDS_TO_FIND_END: Final = 10.0


class _NoEndError(Exception):
    """An index's last row is not found in time."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A run with its pieces: how many rows went before, how many pieces are to do, and by which way new ones go."""

    deleted: int
    to_do: int
    choice: WalkChoice | None = None


@dataclass(frozen=True, kw_only=True)
class RunOpener:
    """Makes a run's pieces, or sees to it that those that there are cover what the policy names now."""

    policy: RetentionPolicy
    journal: Journal
    quarantine: Quarantine
    limits: RunLimits

    async def find_or_make(self, connection: AsyncConnection, shards: int, partitions: tuple[str, ...]) -> Opened:
        """Make the pieces of a run before which `partitions` went whole, or find them.

        Raises:
            PolicyError: the policy cannot be run.
        """
        await self.journal.lock(connection)
        pieces = await self.journal.pieces(connection)
        to_do = sum(not piece.is_done for piece in pieces)
        deleted = sum(piece.state.deleted for piece in pieces)
        if pieces and not to_do:
            return Opened(deleted, 0)
        choice = await choose_walk(connection, self.policy)
        if not pieces:
            return Opened(0, await self._begin(connection, choice, shards, partitions), choice)
        return Opened(deleted, await self._go_on(connection, pieces, choice) or to_do, choice)

    async def _begin(
        self, connection: AsyncConnection, choice: WalkChoice, shards: int, partitions: tuple[str, ...]
    ) -> int:
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
        states[0] = replace(states[0], partitions=partitions)
        await self.journal.open(connection, choice, walk.basis, states, row_limit=self.limits.rows, resumed=bool(left))
        _log_choice(self.policy, choice)
        return len(states)

    async def _whole(self, connection: AsyncConnection, walk: Walk) -> Interval | None:
        with refused_by_server(self.policy.name):
            return await walk.whole(connection)

    async def _interrupted(self, connection: AsyncConnection, choice: WalkChoice) -> list[Piece]:
        """Return the last run's pieces if their positions mean something for this one."""
        left = await self.journal.interrupted(connection)
        if not left or not is_of_table(self.policy, left[0], choice.size):
            return []
        return left if may_go_on(self.policy, choice, left[0].walk) else []

    async def _go_on(self, connection: AsyncConnection, pieces: Sequence[Piece], choice: WalkChoice) -> int:
        """See to it that the run's own pieces cover what the policy names now, in the table as it is now.

        Returns:
            How many pieces have other stretches now.
        """
        kind, covers = pieces[0].walk, fingerprint(self.policy)
        fits = is_of_table(self.policy, pieces[0], choice.size) and may_go_on(self.policy, choice, kind)
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


def is_of_table(policy: RetentionPolicy, piece: Piece, size: TableSize) -> bool:
    """Whether a piece's positions mean something in the table as it is now."""
    return piece.basis == make_walk(policy, piece.walk, size).basis


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


def _log_choice(policy: RetentionPolicy, choice: WalkChoice) -> None:
    logger.info("%s: goes along the %s: %s", policy.name, choice.kind.described, choice.reason)
