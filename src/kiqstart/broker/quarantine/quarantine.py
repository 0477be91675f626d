"""A worker's quarantine: starts processes for tasks whose workers have died repeatedly, and witnesses their ends."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from logging import getLogger
from typing import Final, Protocol

from redis.exceptions import RedisError

from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.broker.quarantine.ward_process import WardEnd, WardProcess
from kiqstart.broker.redis_retry import reason, retry_transient
from kiqstart.clock import local_time
from kiqstart.processes.memory_headroom import has_room_for_another
from kiqstart.processes.shutdown import on_shutdown_signals

logger = getLogger(__name__)

# Whoever kills a ward from outside may kill its worker right after: then there is no witness.
_SECONDS_TO_TESTIFY: Final = 0.5
# In a fleet, one worker after the other starts wards, as long as suspects wait: they need few, and each takes memory.
_SECONDS_BETWEEN_STARTS: Final = 5.0
# Of one worker, where suspects wait still although each ward that runs has what it takes.
_MOST_WARDS: Final = 4
_SECONDS_BETWEEN_WARDS: Final = 1.0
_FIRST_PAUSE: Final = 1.0
_MOST_BAD_STARTS: Final = 3
_SECONDS_WITHOUT: Final = 300.0
_SECONDS_TO_GIVE_BACK: Final = 2.5


class Witness(Protocol):
    """What the quarantine needs of its worker."""

    def take_suspects(self, rule: SuspectRule) -> None:
        """From now on take suspects by another rule."""

    async def count_suspects(self) -> int:
        """How many suspects wait that this worker may take."""
        ...

    async def claim_quarantine(self, seconds: float) -> bool:
        """Claim the right to start a process for suspects; False where another worker has had it within that time."""
        ...

    @property
    def loss(self) -> int:
        """Which loss of Redis' data this worker has seen to last; 0 for none."""
        ...

    async def testify(self, worker: str, loss: int) -> bool:
        """Say that a process has died to which this worker had given suspects; `loss` is the last it has seen to."""
        ...


class Quarantine:
    """Starts wards when suspects wait, and says so when one dies of them.

    It belongs to an event loop. While nobody waits for it, it costs nothing.

    Args:
        witness: the worker.
        prepare: gives what a ward is told; None: there can be none.
    """

    def __init__(self, witness: Witness, prepare: Callable[[], WardOrders | None]) -> None:
        self._witness = witness
        self._prepare = prepare
        self._wards: set[WardProcess] = set()
        self._supervising: asyncio.Task[None] | None = None
        self._has_enough = False
        self._is_without = False
        self._look_at = 0.0
        self._bad_starts = 0
        self._hears_signals = False
        self._is_ending = False

    def on_suspects(self) -> None:
        """Suspects wait, of this worker's queues or of others."""
        if self._is_ending or self._supervising is not None or local_time() < self._look_at:
            return
        self._is_without = self._has_enough = False
        self._witness.take_suspects(SuspectRule.NONE)
        self._supervising = asyncio.create_task(self._supervise())
        self._supervising.add_done_callback(self._note_end)

    def ask_to_end(self) -> None:
        """This worker is to end: start no more wards, and let those that run end with their tasks."""
        self._is_ending = True
        for ward in self._wards:
            ward.ask_to_end()

    async def wait(self, seconds: float) -> None:
        """Let the wards end with their tasks, for up to so many seconds."""
        self.ask_to_end()
        if self._wards:
            timeout = None if math.isinf(seconds) else max(seconds, 0.0)
            await asyncio.wait([ward.end for ward in self._wards], timeout=timeout)

    async def stop(self) -> None:
        """End the wards at once; they give back what they have."""
        self._is_ending = True
        wards = list(self._wards)
        for ward in wards:
            ward.end_at_once()
        if wards:
            await asyncio.wait([ward.end for ward in wards], timeout=_SECONDS_TO_GIVE_BACK)
        for ward in wards:
            if not ward.end.done():
                ward.kill()
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.wait([self._supervising])

    async def _supervise(self) -> None:
        if not (await self._witness.count_suspects() and await self._witness.claim_quarantine(_SECONDS_BETWEEN_STARTS)):
            return
        lanes = {asyncio.create_task(self._run_wards())}
        problem: BaseException | None = None
        try:
            while lanes:
                ended, lanes = await asyncio.wait(lanes, timeout=_SECONDS_BETWEEN_WARDS)
                # The other wards are watched on, whatever became of one.
                problem = problem or next((lane.exception() for lane in ended if lane.exception()), None)
                if lanes and problem is None and await self._needs_another():
                    lanes.add(asyncio.create_task(self._run_wards()))
        finally:
            for lane in lanes:
                lane.cancel()
        if problem is not None:
            raise problem

    async def _needs_another(self) -> bool:
        if self._is_ending or self._is_without or self._has_enough or len(self._wards) >= _MOST_WARDS:
            return False
        if not all(ward.has_begun for ward in self._wards) or not has_room_for_another():
            return False
        try:
            return await self._witness.count_suspects() > 0
        except (RedisError, OSError):
            return False

    async def _run_wards(self) -> None:
        """One ward after the other, as long as suspects wait."""
        while not (self._is_ending or self._is_without) and (count := await self._witness.count_suspects()):
            end = await self._run_ward(count)
            if end is None or not await self._follow(end):
                return

    async def _run_ward(self, count: int) -> WardEnd | None:
        orders = self._prepare()
        if orders is None:
            logger.warning(
                "Tasks whose workers died repeatedly run beside others: no module holds this broker, so no process can "
                "be started for them"
            )
            self._do_without(math.inf)
            return None
        try:
            ward = WardProcess(orders)
        except OSError as error:
            await self._after_bad_start(f"could not be started: {error}")
            return None
        self._wards.add(ward)
        loss = self._witness.loss
        if not self._hears_signals:
            self._hears_signals = True
            on_shutdown_signals(self.ask_to_end)
        logger.info("%d tasks whose workers died repeatedly run in a process of their own: %d", count, ward.pid)
        try:
            end = await asyncio.shield(ward.end)
        finally:
            self._wards.discard(ward)
        return replace(end, loss=end.loss or loss)

    async def _follow(self, end: WardEnd) -> bool:
        """Say what a ward has died of; gives whether another one may take its place."""
        if not (self._is_ending or end.is_announced) and end.worker is None:
            return await self._after_bad_start(f"{end} before it could run any")
        self._bad_starts = 0
        if not (self._is_ending or end.is_announced) and end.worker is not None:
            await self._testify(end, end.worker)
        return True

    async def _after_bad_start(self, what: str) -> bool:
        if self._wards:
            self._has_enough = True
            logger.warning("One more process for tasks whose workers died repeatedly %s; the others go on", what)
            return False
        self._bad_starts += 1
        if self._bad_starts < _MOST_BAD_STARTS:
            logger.warning("A process for tasks whose workers died repeatedly %s", what)
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (self._bad_starts - 1))
            return True
        self._bad_starts = 0
        logger.warning(
            "No process can be started for tasks whose workers died repeatedly, so for %g s they run one by one beside "
            "others: the last one %s",
            *(_SECONDS_WITHOUT, what),
        )
        self._do_without(_SECONDS_WITHOUT)
        return False

    def _do_without(self, seconds: float) -> None:
        self._is_without = True
        self._look_at = local_time() + seconds
        self._witness.take_suspects(SuspectRule.ONE)

    async def _testify(self, end: WardEnd, worker: str) -> None:
        await asyncio.sleep(_SECONDS_TO_TESTIFY)
        if self._is_ending:
            return
        try:
            is_condemned = await retry_transient(lambda: self._witness.testify(worker, end.loss), deadline=math.inf)
        except RedisError as error:
            logger.warning("Redis does not take that a process for suspects %s: %s", end, reason(error))
            return
        logger.warning(
            "A process for tasks whose workers died repeatedly %s; %s",
            end,
            "the task that ran alone in it is a dead letter" if is_condemned else "each that ran in it runs alone next",
        )

    def _note_end(self, supervising: asyncio.Task[None]) -> None:
        self._supervising = None
        error = None if supervising.cancelled() else supervising.exception()
        if isinstance(error, RedisError | OSError):
            # At the end its connection may be closed under it.
            if not self._is_ending:
                logger.warning("Tasks whose workers died repeatedly wait for Redis: %s", reason(error))
        elif error is not None:
            logger.error("The quarantine has failed and begins anew", exc_info=error)
