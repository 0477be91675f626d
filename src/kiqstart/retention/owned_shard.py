"""A shard that this worker has: what its steps work with, and where it stands."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from logging import getLogger
from typing import Final

from sqlalchemy import ColumnElement, and_, false
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import TableChangedError, TableRewrittenError
from kiqstart.retention.layout import layout_of
from kiqstart.retention.pace import Pace
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.quarantine import Quarantine
from kiqstart.retention.relation import Relation, read_relation
from kiqstart.retention.run_store import RunStore
from kiqstart.retention.scan import Cut, Interval, Scan
from kiqstart.retention.settings import RetentionSettings
from kiqstart.retention.state import ShardState
from kiqstart.retention.table import read_table_size
from kiqstart.retention.transaction import Limits, Transactions, read_pages_once

logger = getLogger(__name__)

# Looking for the end of a batch of so few rows takes long only where the index is full of what is no more.
_FEW_TO_LOOK_FOR: Final = 1_000
# Of fewer rows the end is found as quickly as guessed, and each is read as quickly by itself.
_LARGE: Final = 1_000
_GOOD_GUESS: Final = 1.5
_DENSE: Final = 0.9
# What a guess is for, as one too many would be too many.
_OF_A_BATCH: Final = 0.9


@dataclass(kw_only=True)
class OwnedShard:
    """Its state is the one that the run store has: it is replaced once the transaction that wrote it is committed."""

    transactions: Transactions
    policy: RetentionPolicy
    relation: Relation
    run_store: RunStore
    number: int
    settings: RetentionSettings
    quarantine: Quarantine
    # What is left alone: rows that runs before could not delete.
    left_alone: ColumnElement[bool] = field(default_factory=false)
    scan: Scan
    state: ShardState
    pace: Pace
    # The last time that locked rows are tried: those that cannot go are counted now.
    is_last_round: bool = False
    # Whether a transaction looks where its batch ends, or ended while it did.
    is_looking: bool = False
    _fruitless: int = 0
    # Of how many rows a batch was whose end was guessed badly: only one of twice as many is guessed again.
    _bad_guess: int = 0
    _is_dense: bool = False

    def __post_init__(self) -> None:
        self._drop_old_lines()

    @asynccontextmanager
    async def begin(self, interval: Interval | None, statement: float | None = None) -> AsyncGenerator[AsyncConnection]:
        """Begin a batch's transaction, of which a statement takes no longer than its pace says, or so many seconds."""
        limits = Limits(
            statement=statement or self.pace.timeout,
            lock=self.settings.lock_timeout,
            idle=self.settings.takeover_after,
            by_index=interval is not None and self._goes_by_index(interval),
        )
        self.is_looking = False
        async with self.transactions.begin(limits) as connection:
            yield connection

    async def advance(
        self, connection: AsyncConnection, interval: Interval, rows: int, *, may_guess: bool = False
    ) -> Cut:
        """Cut off a batch that looks at about so many rows."""
        self.is_looking, cut = True, None
        if may_guess and self._is_dense and rows >= max(_LARGE, 2 * self._bad_guess):
            cut = await self.scan.guess(connection, interval, round(rows * _OF_A_BATCH))
            # Until its batch has shown that it was a good one.
            self._bad_guess = rows
        cut = cut or await self.scan.advance(connection, interval, rows)
        self.is_looking = False
        return cut

    async def read_pages_once(self, connection: AsyncConnection, batch: Interval, rows: int) -> None:
        """Have a large batch of an index's rows be read page by page, in the order of the disk."""
        if self._goes_by_index(batch) and rows >= _LARGE:
            await read_pages_once(connection)

    def judge(self, cut: Cut, deleted: int) -> None:
        """Learn whether to guess where the next batch ends: if nearly all rows go, and as many as were meant to."""
        if cut.rows is not None:
            self._is_dense = deleted >= _DENSE * cut.rows
        if cut.guessed is not None and max(cut.guessed, deleted) <= _GOOD_GUESS * min(cut.guessed, deleted):
            self._bad_guess = 0

    def where(self, batch: Interval) -> ColumnElement[bool]:
        """Return the condition that a row lies in a stretch, and is not left alone."""
        return and_(self.scan.where(batch), ~self.left_alone)

    async def save(self, connection: AsyncConnection, state: ShardState, batch: Interval | None = None) -> None:
        """Write the new state, and see that the batch's rows lay where it looked for them, and nothing new keeps them.

        Raises:
            ShardLostError: another worker has the shard now; the transaction must be rolled back, as with the others.
            TableRewrittenError: the scan's positions mean nothing any more.
            TableChangedError: those of equal rows do not, or a trigger, a rule or a reference has come or gone.
        """
        reads = layout_of(connection, self.policy)
        files, guards = await self.run_store.save(connection, self.number, state, since=self.state, reads=reads)
        storage = None if batch is None else self.scan.storage(batch)
        has_moved = storage is not None and files != storage
        if has_moved and self.scan.kind is ScanKind.PAGES:
            raise TableRewrittenError(self.policy.name)
        if has_moved or guards != self.relation.guards:
            raise TableChangedError

    def let_go_of_nulled(self) -> bool:
        """Hold no row back any more for a reference that becomes NULL instead; False if there is none, or none left."""
        references = self.relation.own_references
        holding = tuple(one for one in references if one.holds_all)
        self.relation = replace(self.relation, own_references=holding)
        return len(holding) < len(references)

    def look_less(self, interval: Interval) -> None:
        """Look for fewer rows; where that is no help, the index is full of what is no more: go along the pages."""
        if self.pace.rows > _FEW_TO_LOOK_FOR:
            self.pace.rows = max(_FEW_TO_LOOK_FOR, self.pace.rows // 8)
        else:
            self._go_along_pages(interval, "the next row of the index is not found in time")

    def weigh(self, cut: Cut, met: int) -> None:
        """Change to the pages once the index's other rows have cost as much as these would."""
        if cut.rows is None or cut.batch.lines is not None or not self.state.todo:
            return
        self._fruitless += max(0, cut.rows - met)
        if self.scan.is_dearer(self._fruitless):
            self._go_along_pages(self.state.todo[0], f"of the index's rows {self._fruitless:,} were not to go")

    async def look_anew(self) -> None:
        """Forget what was known of the table, since it was rewritten, or what may keep its rows has changed.

        Raises:
            PolicyError: the policy cannot be run any more.
            TableRewrittenError: the scan's positions mean nothing any more.
        """
        async with self.transactions.begin() as connection:
            size = await read_table_size(connection, self.policy.table)
            relation = await read_relation(connection, self.policy)
        if relation.guards != self.relation.guards:
            logger.warning("%s: the table's triggers or references are others now", self.policy.name)
            self.relation = relation
        if size.storage == self.scan.size.storage:
            return
        if self.scan.kind is ScanKind.PAGES:
            raise TableRewrittenError(self.policy.name)
        logger.info(
            "%s: the table was rewritten; what is left of its equal values is gone through again", self.policy.name
        )
        self.scan = replace(self.scan, size=size)  # type: ignore[type-var]  # each scan is a dataclass
        self._drop_old_lines()

    def _goes_by_index(self, interval: Interval) -> bool:
        return interval.lines is None and self.scan.kind is ScanKind.KEY

    def _go_along_pages(self, interval: Interval, reason: str) -> None:
        instead = self.scan.along_pages(interval)
        if instead is not None:
            logger.info("%s: goes on along the heap's pages: %s", self.policy.name, reason)
            self.state = self.state.past((instead,))

    def _drop_old_lines(self) -> None:
        todo = tuple(self.scan.as_it_is(one) for one in self.state.todo)
        locked, held = (
            tuple(replace(one, interval=self.scan.as_it_is(one.interval)) for one in left)
            for left in (self.state.locked, self.state.held)
        )
        self.state = replace(self.state, todo=todo, locked=locked, held=held)
