"""One step of a shard: a batch, or what is learned from one that failed."""

from dataclasses import dataclass, field, replace
from logging import getLogger
from time import monotonic
from typing import Final

from sqlalchemy import ColumnElement
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.batch import Outcome, delete_batch
from kiqstart.retention.climber import Climber
from kiqstart.retention.cost import is_measured
from kiqstart.retention.errors import TableChangedError
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.others import look_at_others
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.scan import Cut, Interval
from kiqstart.retention.sifter import Sifter
from kiqstart.retention.throttle import Throttle

logger = getLogger(__name__)

_ROW_BY_ROW: Final = 8


class _TooManyRowsError(Exception):
    """A stretch held more rows than expected, and more than a batch or the run may delete."""


@dataclass(kw_only=True)
class Stepper:
    """Deletes batch by batch.

    A batch that meets a lock is tried again passing over locked rows. One that takes too long is made smaller, and at
    last goes along the pages, or takes longer. Of one that the database refuses each row is tried (`sifter`).
    """

    shard: OwnedShard
    # None at full pace.
    throttle: Throttle | None = None
    # Whether the next batch picks the rows that nobody has locked.
    passes_over: bool = False
    # Seconds of the last batch in which it worked, and so could bother others.
    work: float = 0.0
    # Whether it goes on from rows that went to those that they referred to.
    climbs: bool = False
    _climber: Climber = field(init=False)
    _sifter: Sifter = field(init=False)

    def __post_init__(self) -> None:
        self._climber, self._sifter = Climber(shard=self.shard), Sifter(shard=self.shard)

    @property
    def is_climbing(self) -> bool:
        """Whether the next batch is not one of an interval."""
        return bool(self._climber.above)

    async def step(self, limit: int | None) -> bool:
        """Do a batch of the first interval that is left, at most so many rows; False if the whole table is locked."""
        shard = self.shard
        if self.is_climbing:
            self.work = await self._climber.step(limit)
            return True
        interval, self.work, started, was_done = shard.state.todo[0], 0.0, monotonic(), True
        try:
            await self._batch(interval, limit)
        except _TooManyRowsError:
            # Rolled back. Passing over locked rows, a batch picks its rows, and so can count them.
            if limit is None or shard.pace.rows > shard.pace.most:
                shard.pace.reset_looking()
            else:
                self.passes_over = True
        except TableChangedError:
            await shard.look_anew()
        except DBAPIError as error:
            was_done = await self._learn(interval, limit, error)
        # What is taken back has bothered others as well.
        self.work = self.work or monotonic() - started
        return was_done

    async def _batch(self, interval: Interval, limit: int | None) -> None:
        shard, is_tree = self.shard, bool(self.shard.relation.own_references)
        started, rows = monotonic(), shard.pace.rows_for(None if is_tree else limit)
        async with shard.begin(interval) as connection:
            await self._look(connection, after=False)
            began = monotonic()
            may_guess = limit is None and not (is_tree or self.passes_over)
            cut = await shard.advance(connection, interval, rows, may_guess=may_guess)
            if cut.rest and is_tree:
                await self._begin_at_the_end(connection, cut)
                return
            await shard.read_pages_once(connection, cut.batch, rows)
            outcome = await self._delete(connection, shard.where(cut.batch), limit)
            deleted = outcome.deleted
            if (limit is not None and deleted > limit) or (
                (rows > shard.pace.most or cut.guessed) and deleted > self._most_of(cut.batch)
            ):
                raise _TooManyRowsError
            self.work = monotonic() - began
            await self._look(connection, after=True)
            state = shard.state.with_batch(deleted, monotonic() - started, outcome.cost)
            if not (self.passes_over and deleted == limit):
                state = state.past(cut.rest).with_locked(cut.batch, outcome.locked).with_held(cut.batch, outcome.held)
                if not outcome.locked or shard.is_last_round:
                    state = state.with_failures(outcome.failures)
            await shard.save(connection, state, cut.batch)
        seconds = monotonic() - started
        shard.state = replace(state, longest_batch=max(state.longest_batch, seconds))
        self.passes_over, self._climber.above = outcome.locked > 0, outcome.above
        shard.pace.record(self.work, looked_at=cut.rows or deleted, deleted=deleted)
        if self.throttle is not None:
            self.throttle.record_batch(self.work, cut.rows or deleted, deleted)
        share = self.throttle.share if self.throttle else 1.0
        logger.debug("batch: rows=%d seconds=%.6f share=%.2f", deleted, seconds, share)
        shard.judge(cut, deleted)
        shard.weigh(cut, deleted + outcome.locked + outcome.held)

    async def _begin_at_the_end(self, connection: AsyncConnection, cut: Cut) -> None:
        """Cut up a stretch of rows that refer to each other: of two of them, the one that refers mostly came later."""
        batches = [cut.batch]
        rest = list(cut.rest)
        while rest:
            cut = await self.shard.advance(connection, rest.pop(0), self.shard.pace.rows)
            batches.append(cut.batch)
            rest = [*cut.rest, *rest]
        self.shard.state = self.shard.state.past(tuple(reversed(batches)))

    async def _delete(self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None) -> Outcome:
        return await delete_batch(
            connection,
            self.shard.policy,
            self.shard.relation,
            where,
            limit=limit,
            passes_over=self.passes_over,
            measures=is_measured(self.shard.state.batches),
            climbs=self.climbs,
        )

    async def _look(self, connection: AsyncConnection, *, after: bool) -> None:
        if self.throttle is None or self.throttle.looks_after is not after:
            return
        started = monotonic()
        shard = self.shard
        others = await look_at_others(connection, shard.settings.takeover_after, shard.run_store.owner)
        self.throttle.record_look(others, monotonic() - started)

    async def _learn(self, interval: Interval, limit: int | None, error: DBAPIError) -> bool:
        fault, shard = fault_of(error), self.shard
        if fault is Fault.SLOW and shard.is_looking:
            shard.look_less(interval)
        elif fault is Fault.SLOW and shard.pace.relax():
            logger.debug("a batch took too long: next %d rows in %g s", shard.pace.rows, shard.pace.timeout)
        elif fault is Fault.LOCKED and not self.passes_over:
            self.passes_over = True
        elif fault is Fault.LOCKED and shard.pace.rows > _ROW_BY_ROW:
            shard.pace.shrink()
        elif fault in {Fault.LOCKED, Fault.SLOW, Fault.OF_A_ROW}:
            if fault is Fault.OF_A_ROW:
                await self._sifter.try_no_row()
            return await self._sifter.step(interval, limit)
        else:
            raise error
        return True

    def _most_of(self, batch: Interval) -> int:
        """How many rows may go at once: of pages, that many on average."""
        is_by_key = self.shard.scan.kind is ScanKind.KEY and batch.lines is None
        return self.shard.pace.most if is_by_key else 4 * self.shard.pace.most
