"""Works through one shard of a run, step by step, as long as nobody and nothing says otherwise."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from logging import getLogger
from time import monotonic
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.ceilings import DailyWindow
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.figures import count_batches
from kiqstart.retention.held_rows import finish_held
from kiqstart.retention.load import LoadGate
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.reconnect import LossStreak, transact
from kiqstart.retention.report import StopReason
from kiqstart.retention.spans import traced
from kiqstart.retention.state import ShardState
from kiqstart.retention.step import Stepper
from kiqstart.retention.throttle import Throttle
from kiqstart.retention.transaction import Limits, rest, to_its_end

logger = getLogger(__name__)

_SECONDS_BETWEEN_ROUNDS: Final = 0.2
# Batches of one run that a trace has; what there are more of is in the span of the run.
_MOST_SPANS: Final = 1000

Observer = Callable[[ShardState, float | None, str | None], Awaitable[None]]


@dataclass(kw_only=True)
class ShardRunner:
    """Deletes the policy's rows of one shard, which the run store says is ours.

    A stretch with locked rows is come back to at the end. A connection that is lost is replaced, and a batch that
    always loses it made smaller.
    """

    shard: OwnedShard
    # None at full pace.
    throttle: Throttle | None
    row_limit: int | None
    rows_per_second: float | None
    # On the clock of `monotonic`.
    deadline: float
    window: DailyWindow | None
    load: LoadGate
    stop: asyncio.Event
    observe: Observer
    # Gives how many rows of the whole run are left, by estimate, where this shard stands there.
    estimate_left: Callable[[ShardState], int]
    _stepper: Stepper = field(init=False)
    _losses: LossStreak = field(init=False)
    _counted: ShardState = field(init=False)
    _first_return: float | None = None
    _deleted_before_round: int | None = None
    _waits_since: float | None = None
    _watchers_error: OSError | None = None
    _spans: int = 0

    def __post_init__(self) -> None:
        settings = self.shard.settings
        self._counted = self.shard.state
        self._stepper = Stepper(shard=self.shard, throttle=self.throttle)
        self._losses = LossStreak(longest=settings.reconnect_wait, most_between=settings.takeover_after / 3)

    async def run(self) -> StopReason:
        """Work until the shard is done, a limit is reached, or the event says to stop.

        Raises:
            ShardLostError: another worker has the shard now.
            PredicateTooSlowError: the predicate takes too long for a single row.
            sqlalchemy.exc.DBAPIError: the database failed otherwise than by a row.
            OSError: the server did not come back in time, or always ends the connection.
        """
        while True:
            try:
                reason = await self._go_on()
            except (DBAPIError, OSError) as error:
                if error is self._watchers_error or fault_of(error) is not Fault.LOST:
                    raise
                logger.warning("%s: the connection was lost: %s", self.shard.run_store.policy, error.__cause__ or error)
                pause = self._losses.add(self.state.batches)
                if pause is None:
                    raise
                await self._wait_for_server(pause)
            else:
                if reason is not None:
                    return reason

    @property
    def state(self) -> ShardState:
        """Where the shard stands."""
        return self.shard.state

    async def _go_on(self) -> StopReason | None:
        reason = self._reason_to_end()
        if reason is StopReason.STOPPED:
            return reason
        if reason is not None:
            return await self._finish(reason)
        if not self.state.todo and not self._stepper.is_climbing:
            return None if await self._come_back() else await self._finish(StopReason.END)
        if await self._must_wait():
            return None
        before, started = self.state.deleted, monotonic()
        with traced("batch", self.shard.policy, is_wanted=self._spans < _MOST_SPANS) as facts:
            self._spans += 1
            was_done = await to_its_end(self._stepper.step(self._remaining()))
            facts |= {"rows": self.state.deleted - before, "seconds": monotonic() - started}
        if was_done:
            self._waits_since = None
            self._count(monotonic() - started)
            await self._report()
            await self._slow_down(self.state.deleted - before, monotonic() - started)
        else:
            await self._wait("a lock on the whole table")
        return None

    def _count(self, seconds: float = 0.0) -> None:
        """Count what was committed since it was counted last; less than that, where the server has lost batches."""
        before, self._counted = self._counted, self.state
        if self.state.batches > before.batches:
            count_batches(
                self.shard.run_store.policy,
                rows=self.state.deleted - before.deleted,
                batches=self.state.batches - before.batches,
                seconds=seconds,
                left=self.estimate_left(self.state),
            )

    def _reason_to_end(self) -> StopReason | None:
        now = monotonic()
        reasons = {
            StopReason.STOPPED: self.stop.is_set(),
            StopReason.ROW_LIMIT: self._remaining() == 0,
            StopReason.TIME_BUDGET: now >= self.deadline,
            StopReason.WINDOW: self.window is not None and not self.window.is_open(datetime.now(UTC)),
            StopReason.UNDELETABLE: self.state.failed >= self.shard.settings.max_failures,
            StopReason.LOAD: self._waits_since is not None and now - self._waits_since >= self.shard.settings.max_wait,
        }
        return next((reason for reason, is_so in reasons.items() if is_so), None)

    async def _come_back(self) -> bool:
        """Go to the stretches with locked or held rows again; False if there is none, or if it was often enough."""
        shard = self.shard
        if not self.state.locked or shard.is_last_round:
            return await self._go_back()
        if self._first_return is None:
            self._first_return = monotonic()
            logger.info("%s: comes back for %d locked rows", self.shard.run_store.policy, self.state.skipped)
        shard.is_last_round = monotonic() - self._first_return >= shard.settings.locked_wait
        await rest(_SECONDS_BETWEEN_ROUNDS, self.stop)
        shard.state, self._stepper.passes_over = self.state.coming_back(), True
        return True

    async def _go_back(self) -> bool:
        """Go to the stretches again whose rows others held back, as long as rows go there."""
        if not self.state.held:
            return False
        if self._deleted_before_round == self.state.deleted and not self.shard.let_go_of_nulled():
            await to_its_end(finish_held(self.shard, self._remaining()))
            return True
        self._deleted_before_round = self.state.deleted
        self.shard.state, self._stepper.climbs = self.state.going_back(), True
        return True

    async def _must_wait(self) -> bool:
        """Whether others come first now; if so, wait a while."""
        if not self.load.is_due:
            return False
        async with self.shard.transactions.begin() as connection:
            waits_for = await self.load.ask(connection, self.shard.run_store.policy)
        if waits_for is None:
            return False
        await self._wait(waits_for)
        return True

    async def _wait(self, reason: str) -> None:
        started = monotonic()
        self._waits_since = self._waits_since or started
        async with self.shard.transactions.begin() as connection:
            await self.shard.run_store.heartbeat(connection)
        await self._report(reason)
        await rest(self.load.seconds_between, self.stop)
        self._count_waiting(monotonic() - started, reason)

    async def _slow_down(self, deleted: int, seconds: float) -> None:
        rate = self.rows_per_second
        pause = max(self.shard.settings.pause, deleted / rate - seconds if rate else 0.0)
        has_more = bool(self.state.todo or self.state.locked or self._stepper.is_climbing)
        if self.throttle is not None and has_more and self._reason_to_end() is None:
            pause = max(pause, self.throttle.rest(self._stepper.work, seconds))
        if pause > 0:
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Rest up to the run's deadline, and show life more often than it is looked for."""
        started, most_at_once = monotonic(), self.shard.settings.takeover_after / 3
        until = min(self.deadline, started + seconds)
        while (left := until - monotonic()) > 0 and not self.stop.is_set():
            await rest(min(left, most_at_once), self.stop)
            if left > most_at_once:
                async with self.shard.transactions.begin() as connection:
                    await self.shard.run_store.heartbeat(connection)
        self.shard.state = replace(self.state, rested=self.state.rested + monotonic() - started)

    async def _finish(self, reason: StopReason) -> StopReason:
        self._count()
        async with self.shard.transactions.begin(Limits(waits_for_disk=True)) as connection:
            await self.shard.run_store.finish(connection, self.shard.number, self.state, reason)
        return reason

    async def _wait_for_server(self, pause: float) -> None:
        """Wait until the server is back, and learn from it which batch was the last to be committed."""
        started = monotonic()
        if pause:
            self.shard.pace.shrink()
            await rest(pause, self.stop)

        async def load(connection: AsyncConnection) -> ShardState:
            await self.shard.run_store.heartbeat(connection)
            return await self.shard.run_store.load(connection, self.shard.number)

        wait = self.shard.settings.reconnect_wait
        self.shard.state = await transact(self.shard.transactions, load, wait=wait, stop=self.stop)
        self._count()
        self._count_waiting(monotonic() - started, "the server")

    def _count_waiting(self, seconds: float, reason: str) -> None:
        self.shard.state = replace(self.state, waited=self.state.waited + seconds, waited_for=reason)

    async def _report(self, waiting: str | None = None) -> None:
        fraction = self.shard.scan.fraction(self.state.todo[0]) if self.state.todo else None
        try:
            await self.observe(self.state, fraction, waiting)
        except OSError as error:
            # Of whoever watches: no sign that PostgreSQL is gone.
            self._watchers_error = error
            raise

    def _remaining(self) -> int | None:
        return None if self.row_limit is None else max(0, self.row_limit - self.state.deleted)
