"""One step of a piece: a batch, or what is learned from one that failed."""

from dataclasses import dataclass, field, replace
from logging import getLogger
from time import monotonic
from typing import Final

from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from kiqstart.core.retention.batch import Outcome, any_key, delete_batch
from kiqstart.core.retention.cost import is_measured
from kiqstart.core.retention.deletion import count_rows, delete_nothing
from kiqstart.core.retention.errors import PredicateTooSlowError
from kiqstart.core.retention.faults import Fault, fault_of, first_line
from kiqstart.core.retention.journal import Journal
from kiqstart.core.retention.others import look_at_others
from kiqstart.core.retention.pace import Pace
from kiqstart.core.retention.policy import RetentionPolicy, WalkKind
from kiqstart.core.retention.quarantine import Quarantine
from kiqstart.core.retention.relation import Relation
from kiqstart.core.retention.report import FailureGroup
from kiqstart.core.retention.settings import RetentionSettings
from kiqstart.core.retention.sifting import Refusal, Sifted, lock_rows, sift
from kiqstart.core.retention.state import PieceState
from kiqstart.core.retention.table import TableSize, read_table_size
from kiqstart.core.retention.throttle import Throttle
from kiqstart.core.retention.transaction import Limits, transaction
from kiqstart.core.retention.tree import Batch, prune
from kiqstart.core.retention.walk import Cut, Interval, Walk

logger = getLogger(__name__)

# Looking for the end of a batch of so few rows takes long only where the index is full of what is no more.
_FEW_TO_LOOK_FOR: Final = 1_000
_ROW_BY_ROW: Final = 8
# Stretches that one statement can look at together.
_FEW_STRETCHES: Final = 50
_SECONDS_FOR_CIRCLES: Final = 10.0
_HELD: Final = (
    "rows of its own table refer to it that do not go, or it refers to itself by a circle larger than a batch"
)


class _TooManyRowsError(Exception):
    """A stretch held more rows than expected, and more than a batch or the run may delete."""


class _RewrittenError(Exception):
    """The table's rows have moved, and lines mean nothing any more."""

    def __init__(self, size: TableSize) -> None:
        super().__init__()
        self.size = size


@dataclass(kw_only=True)
class Stepper:
    """Deletes batch by batch, and keeps the state that the journal has.

    A batch that meets a lock is tried again passing over locked rows. One that takes too long is made smaller, and at
    last goes along the pages, or takes longer. Of one that the database refuses each row is tried (`sifting`).
    """

    sessions: async_sessionmaker[AsyncSession]
    policy: RetentionPolicy
    walk: Walk
    journal: Journal
    number: int
    state: PieceState
    settings: RetentionSettings
    pace: Pace
    quarantine: Quarantine
    relation: Relation
    # The last time that locked rows are tried: those that cannot go are counted now.
    is_last_round: bool = False
    # Whether the next batch picks the rows that nobody has locked.
    passes_over: bool = False
    # None at full pace.
    throttle: Throttle | None = None
    # Seconds of the last batch in which it worked, and so could bother others.
    work: float = 0.0
    # What is left alone: rows that runs before could not delete.
    left_alone: ColumnElement[bool] = field(default_factory=false)
    _is_looking: bool = False
    _fruitless: int = 0

    def __post_init__(self) -> None:
        self._drop_old_lines()

    async def step(self, limit: int | None) -> bool:
        """Do a batch of the first interval that is left, at most so many rows; False if the whole table is locked."""
        interval, self.work = self.state.todo[0], 0.0
        try:
            await self._batch(interval, limit)
        except _TooManyRowsError:
            # Rolled back. Passing over locked rows, a batch picks its rows, and so can count them.
            if limit is None or self.pace.rows > self.pace.most:
                self.pace.reset_looking()
            else:
                self.passes_over = True
        except _RewrittenError as moved:
            self._look_anew(moved.size)
        except DBAPIError as error:
            return await self._learn(interval, limit, error)
        return True

    async def _batch(self, interval: Interval, limit: int | None) -> None:
        is_tree = bool(self.relation.own_references)
        started, rows = monotonic(), self.pace.rows_for(None if is_tree else limit)
        async with transaction(self.sessions, self._limits(interval)) as connection:
            await self._look(connection, after=False)
            began = monotonic()
            cut = await self._advance(connection, interval, rows)
            if cut.rest and is_tree:
                await self._begin_at_the_end(connection, cut)
                return
            outcome = await self._delete(connection, self._where(cut.batch), limit)
            deleted = outcome.deleted
            if (limit is not None and deleted > limit) or (
                rows > self.pace.most and deleted > self._most_of(cut.batch)
            ):
                raise _TooManyRowsError
            self.work = monotonic() - began
            await self._look(connection, after=True)
            await self._check_lines(connection, cut.batch)
            state = self.state.with_batch(deleted, monotonic() - started, outcome.cost)
            if not (self.passes_over and deleted == limit):
                state = state.past(cut.rest).with_locked(cut.batch, outcome.locked).with_held(cut.batch, outcome.held)
                if not outcome.locked or self.is_last_round:
                    state = state.with_failures(outcome.failures)
            await self.journal.save(connection, self.number, state, since=self.state)
        seconds = monotonic() - started
        self.state = replace(state, longest_batch=max(state.longest_batch, seconds))
        self.passes_over = outcome.locked > 0
        self.pace.record(self.work, looked_at=cut.rows or deleted, deleted=deleted)
        if self.throttle is not None:
            self.throttle.record_batch(self.work, deleted)
        share = self.throttle.share if self.throttle else 1.0
        logger.debug("batch: rows=%d seconds=%.6f share=%.2f", deleted, seconds, share)
        self._weigh(cut, deleted + outcome.locked + outcome.held)

    async def _begin_at_the_end(self, connection: AsyncConnection, cut: Cut) -> None:
        """Cut up a stretch of rows that refer to each other: of two of them, the one that refers mostly came later."""
        batches = [cut.batch]
        rest = list(cut.rest)
        while rest:
            cut = await self._advance(connection, rest.pop(0), self.pace.rows)
            batches.append(cut.batch)
            rest = [*cut.rest, *rest]
        self.state = self.state.past(tuple(reversed(batches)))

    async def _delete(self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None) -> Outcome:
        return await delete_batch(
            connection,
            self.policy,
            self.relation,
            where,
            limit=limit,
            passes_over=self.passes_over,
            measures=is_measured(self.state.batches),
        )

    async def _look(self, connection: AsyncConnection, *, after: bool) -> None:
        if self.throttle is None or self.throttle.looks_after is not after:
            return
        started = monotonic()
        others = await look_at_others(connection, self.settings.takeover_after)
        self.throttle.record_look(others, monotonic() - started)

    async def _learn(self, interval: Interval, limit: int | None, error: DBAPIError) -> bool:
        fault = fault_of(error)
        if fault is Fault.SLOW and self._is_looking:
            self._look_less(interval)
        elif fault is Fault.SLOW and self.pace.relax():
            logger.debug("a batch took too long: next %d rows in %g s", self.pace.rows, self.pace.timeout)
        elif fault is Fault.LOCKED and not self.passes_over:
            self.passes_over = True
        elif fault is Fault.LOCKED and self.pace.rows > _ROW_BY_ROW:
            self.pace.shrink()
        elif fault in {Fault.LOCKED, Fault.SLOW, Fault.OF_A_ROW}:
            if fault is Fault.OF_A_ROW:
                await self._try_no_row()
            return await self._sift(interval, limit)
        else:
            raise error
        return True

    async def _try_no_row(self) -> None:
        """Raise what PostgreSQL says though no row is to go: a trigger of the statement's, or its own rules."""
        async with transaction(self.sessions, self._limits(None)) as connection:
            await delete_nothing(connection, self.policy)

    async def _sift(self, interval: Interval, limit: int | None) -> bool:
        started = monotonic()
        try:
            async with transaction(self.sessions, self._limits(interval)) as connection:
                cut = await self._advance(connection, interval, self.pace.sifted)
                sifted, held = await self._sift_batch(connection, self._where(cut.batch), limit)
                await self._check_lines(connection, cut.batch)
                await self._save_sifted(connection, cut, sifted, monotonic() - started, held)
        except _RewrittenError as moved:
            self._look_anew(moved.size)
        except DBAPIError as error:
            return await self._sift_less(interval, error)
        else:
            # More at once would most likely fail again.
            self.pace.rows = min(self.pace.rows, self.pace.sifted)
            self.pace.record_sifting(monotonic() - started)
        return True

    async def _sift_batch(
        self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None
    ) -> tuple[Sifted, int]:
        references = self.relation.own_references
        if not references:
            return await sift(connection, self.policy, where, limit=limit), 0
        free = Batch(self.policy, references, where, passes_over=True).is_free
        sifted = await sift(connection, self.policy, where & free, limit=limit)
        left = await count_rows(connection, self.policy, where)
        return sifted, max(0, left - sifted.locked - len(sifted.refused))

    async def finish_held(self, limit: int | None) -> None:
        """Delete held rows that hold each other, in a circle, and report the others, or leave them to the next run."""
        try:
            await self._finish_held(limit, deletes=sum(one.rows for one in self.state.held) <= self.settings.batch_rows)
        except DBAPIError as error:
            if fault_of(error) not in {Fault.SLOW, Fault.LOCKED, Fault.OF_A_ROW}:
                raise
            await self._finish_held(limit, deletes=False)

    async def _finish_held(self, limit: int | None, *, deletes: bool) -> None:
        started, held = monotonic(), self.state.held
        deleted, left, state = 0, sum(one.rows for one in held), replace(self.state, held=())
        most = None if limit is None or left <= limit else limit
        stretches = [one.interval for one in held] if len(held) <= _FEW_STRETCHES else self.state.share
        limits = replace(self._limits(None), statement=_SECONDS_FOR_CIRCLES)
        async with transaction(self.sessions, limits) as connection:
            where = or_(*(self._where(one) for one in stretches))
            if deletes:
                deleted, left = await prune(
                    connection, self.policy, self.relation.own_references, where, limit=most, passes_over=True
                )
                await self.walk.check_basis(connection)
            if self.state.skipped:
                # What refers to them may have been locked.
                state = replace(state, given_up=state.given_up + left)
            elif left:
                key = await any_key(connection, self.policy, where)
                state = state.with_failures((FailureGroup({}, key, _HELD, left),))
            state = state.with_batch(deleted, monotonic() - started)
            await self.journal.save(connection, self.number, state, since=self.state)
        self.state = state

    async def _sift_less(self, interval: Interval, error: DBAPIError) -> bool:
        fault = fault_of(error)
        if fault is Fault.LOCKED:
            return False
        if fault not in {Fault.SLOW, Fault.OF_A_ROW}:
            raise error
        if fault is Fault.SLOW and self._is_looking:
            self._look_less(interval)
        elif not (self.pace.sift_less() or (fault is Fault.SLOW and self.pace.lengthen())):
            await self._give_up_row(interval, first_line(error))
        return True

    async def _give_up_row(self, interval: Interval, error: str) -> None:
        try:
            async with transaction(self.sessions, self._limits(interval)) as connection:
                cut = await self._advance(connection, interval, 1)
                rows = await lock_rows(connection, self.policy, self._where(cut.batch))
                refused = tuple(Refusal(row.group, row.key, row.key_text, error) for row in rows)
                await self._save_sifted(connection, cut, Sifted(0, 0, refused), 0)
        except DBAPIError as slow:
            if fault_of(slow) is Fault.SLOW:
                raise PredicateTooSlowError(self.policy.name, first_line(slow)) from slow
            raise

    async def _save_sifted(
        self, connection: AsyncConnection, cut: Cut, sifted: Sifted, seconds: float, held: int = 0
    ) -> None:
        state = self.state.with_batch(sifted.deleted, seconds)
        if sifted.is_complete:
            state = state.past(cut.rest).with_locked(cut.batch, sifted.locked).with_held(cut.batch, held)
            if state.locked == self.state.locked or self.is_last_round:
                # Else they are met again when the run comes back for the locked ones.
                state = state.with_failures(tuple(one.failure for one in sifted.refused))
                await self.quarantine.add(connection, sifted.refused)
        await self.journal.save(connection, self.number, state, since=self.state)
        self.state = state

    async def _advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        self._is_looking = True
        cut = await self.walk.advance(connection, interval, rows)
        self._is_looking = False
        return cut

    def _look_less(self, interval: Interval) -> None:
        """Look for fewer rows; where that is no help, the index is full of what is no more: go along the pages."""
        if self.pace.rows > _FEW_TO_LOOK_FOR:
            self.pace.rows = max(_FEW_TO_LOOK_FOR, self.pace.rows // 8)
        else:
            self._go_along_pages(interval, "the next row of the index is not found in time")

    def _weigh(self, cut: Cut, met: int) -> None:
        """Change to the pages once the index's other rows have cost as much as these would."""
        if cut.rows is None or cut.batch.lines is not None or not self.state.todo:
            return
        self._fruitless += max(0, cut.rows - met)
        if self.walk.is_dearer(self._fruitless):
            self._go_along_pages(self.state.todo[0], f"of the index's rows {self._fruitless:,} were not to go")

    def _go_along_pages(self, interval: Interval, reason: str) -> None:
        instead = self.walk.along_pages(interval)
        if instead is not None:
            logger.info("%s: goes on along the heap's pages: %s", self.policy.name, reason)
            self.state = self.state.past((instead,))

    async def _check_lines(self, connection: AsyncConnection, batch: Interval) -> None:
        await self.walk.check_basis(connection)
        if batch.lines is not None:
            # The DELETE's own lock keeps the table from being rewritten until the commit.
            size = await read_table_size(connection, self.policy.table)
            if size.storage != batch.lines.storage:
                raise _RewrittenError(size)

    def _look_anew(self, size: TableSize) -> None:
        logger.info(
            "%s: the table was rewritten; what is left of its equal values is gone through again", self.policy.name
        )
        self.walk = replace(self.walk, size=size)  # type: ignore[type-var]  # each walk is a dataclass
        self._drop_old_lines()

    def _drop_old_lines(self) -> None:
        todo = tuple(self.walk.as_it_is(one) for one in self.state.todo)
        locked = tuple(replace(one, interval=self.walk.as_it_is(one.interval)) for one in self.state.locked)
        self.state = replace(self.state, todo=todo, locked=locked)

    def _most_of(self, batch: Interval) -> int:
        """How many rows may go at once: of pages, that many on average."""
        is_by_key = self.walk.kind is WalkKind.KEY and batch.lines is None
        return self.pace.most if is_by_key else 4 * self.pace.most

    def _where(self, batch: Interval) -> ColumnElement[bool]:
        return and_(self.walk.where(batch), ~self.left_alone)

    def _limits(self, interval: Interval | None) -> Limits:
        return Limits(
            statement=self.pace.timeout,
            lock=self.settings.lock_timeout,
            idle=self.settings.takeover_after,
            by_index=interval is not None and interval.lines is None and self.walk.kind is WalkKind.KEY,
        )
