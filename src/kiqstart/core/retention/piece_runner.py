"""Works through one piece of a run, batch by batch."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from logging import getLogger
from time import monotonic
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from kiqstart.core.retention.deletion import (
    count_rows,
    delete_range,
    delete_unlocked,
    limit_transaction,
    list_rows,
)
from kiqstart.core.retention.faults import Fault, fault_of, first_line
from kiqstart.core.retention.journal import Journal
from kiqstart.core.retention.load import LoadGate
from kiqstart.core.retention.others import look_at_others
from kiqstart.core.retention.pace import Pace
from kiqstart.core.retention.policy import PaceKind, RetentionPolicy
from kiqstart.core.retention.reconnect import transact
from kiqstart.core.retention.report import FailureGroup, StopReason
from kiqstart.core.retention.settings import RetentionSettings
from kiqstart.core.retention.state import PieceState
from kiqstart.core.retention.throttle import Throttle
from kiqstart.core.retention.transaction import rest, to_its_end, transaction
from kiqstart.core.retention.walk import Interval, Walk

logger = getLogger(__name__)

_ROW_BY_ROW: Final = 8
_SECONDS_BETWEEN_ROUNDS: Final = 0.2


class _OverRowLimitError(Exception):
    """A stretch held more rows than expected, and more than the run may still delete."""


Observer = Callable[[PieceState, float | None, str | None], Awaitable[None]]


@dataclass(kw_only=True)
class PieceRunner:
    """Deletes the policy's rows of one piece, which the journal says is ours.

    A batch that meets a lock is tried again passing over locked rows; one that takes too long or that the database
    refuses is made smaller, down to single rows. A stretch with locked rows is come back to at the end.
    """

    sessions: async_sessionmaker[AsyncSession]
    policy: RetentionPolicy
    walk: Walk
    journal: Journal
    number: int
    state: PieceState
    row_limit: int | None
    rows_per_second: float | None
    # On the clock of `monotonic`.
    deadline: float
    settings: RetentionSettings
    load: LoadGate
    stop: asyncio.Event
    observe: Observer
    _pace: Pace = field(init=False)
    _throttle: Throttle | None = field(init=False)
    _work: float = 0.0
    _pass_over: bool = False
    _first_return: float | None = None
    _is_last_round: bool = False
    _watchers_error: OSError | None = None

    def __post_init__(self) -> None:
        self._pace = Pace(self.settings, self.rows_per_second)
        self._throttle = Throttle() if self.settings.pace is PaceKind.GENTLE else None

    async def run(self) -> StopReason:
        """Work until the piece is done, a limit is reached, or the event says to stop.

        Raises:
            PieceLostError: another worker has the piece now.
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a row.
            OSError: the server did not come back in time.
        """
        while True:
            try:
                reason = await self._go_on()
            except (DBAPIError, OSError) as error:
                if error is self._watchers_error or fault_of(error) is not Fault.LOST:
                    raise
                logger.warning("%s: the connection was lost: %s", self.policy.name, error.__cause__ or error)
                await self._wait_for_server()
            else:
                if reason is not None:
                    return reason

    async def _go_on(self) -> StopReason | None:
        if self.stop.is_set():
            return StopReason.STOPPED
        if self._remaining() == 0:
            return await self._finish(StopReason.ROW_LIMIT)
        if monotonic() >= self.deadline:
            return await self._finish(StopReason.TIME_BUDGET)
        if self.policy.window is not None and not self.policy.window.is_open(datetime.now(UTC)):
            logger.info("%s: stops outside its window, %s", self.policy.name, self.policy.window)
            return await self._finish(StopReason.WINDOW)
        if not self.state.todo:
            return None if await self._come_back() else await self._finish(StopReason.END)
        if await self._must_wait():
            return None
        before, started, self._work = self.state.deleted, monotonic(), 0.0
        await to_its_end(self._step(self.state.todo[0]))
        await self._report()
        await self._slow_down(self.state.deleted - before, monotonic() - started)
        return None

    async def _step(self, interval: Interval) -> None:
        try:
            await self._batch(interval)
        except DBAPIError as error:
            await self._make_smaller(interval, fault_of(error), error)
        except _OverRowLimitError:
            # Rolled back. Passing over locked rows, a batch picks its rows, and so can count them.
            self._pass_over = True

    async def _batch(self, interval: Interval) -> None:
        limit, started = self._remaining(), monotonic()
        async with transaction(self.sessions) as connection:
            await self._limit(connection)
            await self._look(connection, after=False)
            began = monotonic()
            rows = self._pace.rows if limit is None else min(self._pace.rows, limit)
            batch = Interval(interval.after, await self.walk.advance(connection, interval, rows))
            where, left = self.walk.where(batch), 0
            if self._pass_over:
                deleted = await delete_unlocked(connection, self.policy, where, limit=limit)
                left = 0 if deleted == limit else await count_rows(connection, self.policy, where)
            else:
                deleted = await delete_range(connection, self.policy, where)
            if limit is not None and deleted > limit:
                raise _OverRowLimitError
            self._work = monotonic() - began
            await self._look(connection, after=True)
            await self.walk.check_basis(connection)
            state = self.state.with_batch(deleted, monotonic() - started)
            if not (self._pass_over and deleted == limit):
                state = state.past(batch).with_locked(batch, left)
            await self.journal.save(connection, self.number, state, since=self.state)
        seconds = monotonic() - started
        self.state = replace(state, longest_batch=max(state.longest_batch, seconds))
        self._pass_over = left > 0
        self._pace.record(self._work if self._throttle else seconds)
        if self._throttle is not None:
            self._throttle.record_batch(self._work, deleted)
        logger.debug("batch: rows=%d seconds=%.6f", deleted, seconds)

    async def _look(self, connection: AsyncConnection, *, after: bool) -> None:
        if self._throttle is None or self._throttle.looks_after is not after:
            return
        started = monotonic()
        others = await look_at_others(connection, self.settings.takeover_after)
        self._throttle.record_look(others, monotonic() - started)

    async def _make_smaller(self, interval: Interval, fault: Fault, error: DBAPIError) -> None:
        if fault not in {Fault.LOCKED, Fault.SLOW, Fault.OF_A_ROW}:
            raise error
        if fault is Fault.LOCKED and not self._pass_over:
            self._pass_over = True
        elif fault is Fault.SLOW and self._pace.relax():
            logger.debug("a batch took too long: next %d rows in %g s", self._pace.rows, self._pace.timeout)
        elif fault is not Fault.SLOW and self._pace.rows > _ROW_BY_ROW:
            self._pace.shrink()
        else:
            await self._row_by_row(interval)

    async def _row_by_row(self, interval: Interval) -> None:
        try:
            async with transaction(self.sessions) as connection:
                await self._limit(connection)
                batch = Interval(interval.after, await self.walk.advance(connection, interval, self._pace.rows))
                where = self.walk.where(batch)
                rows = await list_rows(connection, self.policy, where)
        except DBAPIError as error:
            if fault_of(error) is not Fault.LOCKED:
                raise
            await self._wait("a lock on the whole table")
            return
        locked, failures = 0, list[FailureGroup]()
        for is_it, group, key in rows:
            if self._remaining() == 0:
                return
            try:
                started = monotonic()
                async with transaction(self.sessions) as connection:
                    await self._limit(connection)
                    deleted = await delete_range(connection, self.policy, where & is_it)
                    await self.walk.check_basis(connection)
                    state = self.state.with_batch(deleted, monotonic() - started)
                    await self.journal.save(connection, self.number, state, since=self.state)
                self.state = state
            except DBAPIError as error:
                fault = fault_of(error)
                if fault is Fault.LOCKED:
                    locked += 1
                elif fault in {Fault.OF_A_ROW, Fault.SLOW}:
                    failures.append(FailureGroup(group, key, first_line(error), 1))
                else:
                    raise
        state = self.state.past(batch).with_locked(batch, locked)
        if state.locked == self.state.locked or self._is_last_round:
            # Else they are met again when the run comes back for the locked ones.
            state = state.with_failures(tuple(failures))
        async with transaction(self.sessions) as connection:
            await self.journal.save(connection, self.number, state, since=self.state)
        self.state = state

    async def _come_back(self) -> bool:
        """Go to the stretches with locked rows again; False if there is none, or if it was often enough."""
        if not self.state.locked or self._is_last_round:
            return False
        if self._first_return is None:
            self._first_return = monotonic()
            logger.info("%s: comes back for %d locked rows", self.policy.name, self.state.skipped)
        self._is_last_round = monotonic() - self._first_return >= self.settings.locked_wait
        await rest(_SECONDS_BETWEEN_ROUNDS, self.stop)
        self.state = self.state.coming_back()
        self._pass_over = True
        return True

    async def _must_wait(self) -> bool:
        """Whether others come first now; if so, wait a while."""
        if not self.load.is_due:
            return False
        async with transaction(self.sessions) as connection:
            waits_for = await self.load.ask(connection, self.policy.name)
        if waits_for is None:
            return False
        await self._wait(waits_for)
        return True

    async def _wait(self, reason: str) -> None:
        started = monotonic()
        async with transaction(self.sessions) as connection:
            await self.journal.heartbeat(connection)
        await self._report(reason)
        await rest(self.load.seconds_between, self.stop)
        self.state = replace(self.state, waited=self.state.waited + monotonic() - started)

    async def _slow_down(self, deleted: int, seconds: float) -> None:
        rate = self.rows_per_second
        pause = max(self.settings.pause, deleted / rate - seconds if rate else 0.0)
        if self._throttle is not None and self.state.todo:
            # A run that rests must show life more often than it is looked for.
            longest = self.settings.takeover_after / 3
            pause = max(pause, min(longest, self._throttle.rest(self._work, seconds)))
        if pause > 0:
            await rest(pause, self.stop)

    async def _finish(self, reason: StopReason) -> StopReason:
        async with transaction(self.sessions) as connection:
            await self.journal.save(connection, self.number, self.state, since=self.state, stopped=reason)
        return reason

    async def _wait_for_server(self) -> None:
        """Wait until the server is back, and learn from it which batch was the last to be committed."""
        started = monotonic()

        async def load(connection: AsyncConnection) -> PieceState:
            await self.journal.heartbeat(connection)
            return await self.journal.load(connection, self.number)

        state = await transact(self.sessions, load, wait=self.settings.reconnect_wait, stop=self.stop)
        self.state = replace(state, waited=state.waited + monotonic() - started)

    async def _limit(self, connection: AsyncConnection) -> None:
        await limit_transaction(
            connection,
            statement_timeout=self._pace.timeout,
            lock_timeout=self.settings.lock_timeout,
            idle_timeout=self.settings.takeover_after,
        )

    async def _report(self, waiting: str | None = None) -> None:
        fraction = self.walk.fraction(self.state.todo[0]) if self.state.todo else None
        try:
            await self.observe(self.state, fraction, waiting)
        except OSError as error:
            # Of whoever watches: no sign that PostgreSQL is gone.
            self._watchers_error = error
            raise

    def _remaining(self) -> int | None:
        return None if self.row_limit is None else max(0, self.row_limit - self.state.deleted)
