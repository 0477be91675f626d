"""A worker's side of the broker: what it reads, has in hand, settles and gives back."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from logging import getLogger
from typing import Final, cast

from redis.exceptions import RedisError, ResponseError
from taskiq import TaskiqMessage

from kiqstart.broker.consumer_parts import ConsumerParts
from kiqstart.broker.delivery import Delivery, interrupt_all
from kiqstart.broker.fetcher import NotRegisteredError, SuspectRule
from kiqstart.broker.reclaimer import give_back_call
from kiqstart.broker.redis_retry import is_outage, may_pass, pause, reason
from kiqstart.broker.script import Script
from kiqstart.clock import local_time

logger = getLogger(__name__)

_GIVE_BACK: Final = Script[int]("give_back")
_SECONDS_FOR_AN_ANSWER: Final = 5.0
_SECONDS_BETWEEN_LOOKS: Final = 0.05
# How long tasks that are cancelled as their worker ends may take to notice it.
_SECONDS_TO_CANCEL: Final = 1.0


class StreamConsumer:
    """Everything that one worker process does with the streams.

    Args:
        parts: what it is made of.
        read_message: reads a message, None where it is none.
    """

    def __init__(self, parts: ConsumerParts, *, read_message: Callable[[bytes], TaskiqMessage | None]) -> None:
        self._clients = parts.clients
        self._keys = parts.keys
        self._group = parts.group
        self._options = parts.options
        self._read_message = read_message
        self.shape_of = parts.shape_of
        self.in_flight = parts.in_flight
        self.lease = parts.lease
        self.timeout_watchdog = parts.timeout_watchdog
        self.stats = parts.stats
        self.activity = parts.activity
        self._early_acks = parts.early_acks
        self._settlement = parts.settlement
        self._paused = parts.paused
        # What had paused a call when this worker has read last.
        self.pause_of: Callable[[TaskiqMessage, Callable[..., object]], str | None] = parts.paused.pause_of
        self._fetcher = parts.fetcher
        self._testimonies = parts.testimonies
        self._heartbeat = parts.heartbeat
        self._failures = 0

    async def start(self) -> None:
        """Register with Redis and begin to renew the lease.

        Raises:
            WiringError: the queue belongs to another group, or was left by a newer version.
            RedisError: Redis is away, or a key of the queue holds something else.
        """
        await asyncio.to_thread(self._heartbeat.start, asyncio.get_running_loop())

    async def stop(self) -> None:
        """Give back what is still in hand, wait for Redis to take what has ended, and leave."""
        await self.interrupt([one for one in self._held() if one.settling_since is None])
        await self.wait_for_settling()
        # A read that is still waiting could be handed something after the last look for strays.
        await self._clients.reader.aclose()
        await asyncio.to_thread(self._heartbeat.stop)

    @property
    def hook_timeout(self) -> float:
        """Seconds that a middleware's hook may take."""
        return self._options.hook_timeout

    @property
    def is_full(self) -> bool:
        """Whether what is in flight takes as much memory as it may."""
        return self.in_flight.weight >= self._options.in_flight_bytes

    def start_reading(self) -> None:
        """Read, also where another receiver has ended its reading before."""
        self._fetcher.resume()

    def drain(self) -> None:
        """Let others know that this worker was asked to end. May be called by a signal's handler."""
        self._heartbeat.drain()

    async def stop_reading(self) -> None:
        """Read no more; what Redis has handed out already is found by a look for strays."""
        self.drain()
        self._fetcher.interrupt()
        self._heartbeat.look_for_strays()
        # A read that still waits would be handed what comes next.
        await self._clients.reader.aclose()

    def take_suspects(self, rule: SuspectRule) -> None:
        """From now on take suspects by another rule."""
        self._fetcher.rule = rule

    async def count_suspects(self) -> int:
        """How many suspects wait that this worker may take.

        Raises:
            RedisError: Redis is away.
        """
        return await asyncio.to_thread(self._heartbeat.count_suspects)

    async def claim_quarantine(self, seconds: float) -> bool:
        """Claim the right to start a process for suspects; False where another worker has had it within that time.

        Raises:
            RedisError: Redis is away.
        """
        scripts = self._clients.scripts
        key, milliseconds = self._keys.quarantine_claim, round(seconds * 1000)
        return await scripts.execute_command("SET", key, self.lease.worker, "NX", "PX", milliseconds) is not None

    @property
    def loss(self) -> int:
        """Which loss of Redis' data this worker has seen to last; 0 for none."""
        return self._testimonies.loss

    async def testify(self, worker: str, loss: int) -> bool:
        """Say that a process has died to which this worker had given suspects; gives whether a task is condemned by it.

        That needs that the last `loss` of data was the same one to both.

        Raises:
            RedisError: Redis is away; they are found when its lease ends, without a witness.
        """
        return await asyncio.wrap_future(self._heartbeat.testify(worker, loss))

    async def fetch(self, room: int) -> list[Delivery]:
        """Read up to `room` messages; none after a short wait, also while Redis is away."""
        try:
            deliveries = await self._fetcher.fetch(room)
        except NotRegisteredError:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return []
        except (RedisError, OSError) as error:
            await self._after_failed_read(error)
            return []
        if self._failures:
            logger.info("The queue is back")
            self._failures = 0
        # A read that waited already when a queue was paused is handed what comes to it.
        free = [one for one in deliveries if not self._paused.has_stream(self._keys.stream(one.queue))]
        kept = _at_once(free, self._fetcher.rule)[:room]
        if len(kept) < len(deliveries):
            await self.give_back([one for one in deliveries if one not in kept])
        if kept and self._fetcher.marks.count:
            await self._find_cancelled(kept)
        return kept

    async def settle(self, delivery: Delivery) -> None:
        """Apply what became of a delivery, where it is still this worker's."""
        if delivery.is_lost:
            self.in_flight.discard(delivery)
            return
        self.in_flight.settle(delivery)
        is_ours = (await self._settlement.begin(delivery))[0]
        if is_ours is not True:
            is_ours = await self._settlement.finish(delivery, is_ours)
        if is_ours is True:
            self.stats.settled(delivery)
        elif isinstance(is_ours, RedisError):
            logger.error("Task %s could not be settled and will run again: %s", delivery.task_id, reason(is_ours))
        elif isinstance(is_ours, BaseException):
            raise is_ours
        else:
            logger.warning("Task %s was given to another worker; what it did here is dropped", delivery.task_id)
        delivery.is_settled = True
        self.in_flight.discard(delivery)

    async def acknowledge_early(self, delivery: Delivery) -> bool:
        """Let nobody run a task again that is about to run; False where another worker has it by now.

        It stays in hand until it is settled. Where this worker does not settle it, its caller gets `TaskCutOffError`.

        Raises:
            RedisError: Redis refuses it.
        """
        # Meanwhile the lease's thread may have given it back.
        delivery.is_early = await self._early_acks.acknowledge(delivery) and not delivery.is_lost
        if not delivery.is_early:
            logger.warning("Task %s was given to another worker before it began here", delivery.task_id)
            delivery.is_lost = True
        return delivery.is_early

    async def interrupt(self, deliveries: Sequence[Delivery]) -> None:
        """Cancel what runs of deliveries, and then let others have them."""
        for delivery in deliveries:
            delivery.is_lost = True
        interrupt_all(deliveries)
        runners = [one.runner for one in deliveries if one.runner is not None]
        if runners:
            await asyncio.wait(runners, timeout=_SECONDS_TO_CANCEL)
        await self.give_back(deliveries)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once. Without Redis they get them when this worker's lease has ended."""
        by_stream = sorted(deliveries, key=lambda one: (one.stream, one.worker))
        for (stream, worker), group in groupby(by_stream, key=lambda one: (one.stream, one.worker)):
            ours = list(group)
            for delivery in ours:
                delivery.is_lost = True
                self.in_flight.discard(delivery)
            entries = [one.entry for one in ours]
            keys, arguments = give_back_call(self._keys, self._group, ours[0].queue, stream, worker, entries)
            try:
                await asyncio.wait_for(_GIVE_BACK(self._clients.scripts, keys, arguments), _SECONDS_FOR_AN_ANSWER)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("%d tasks stay until this worker's lease ends: %s", len(ours), reason(error))

    def give_back_in_thread(self) -> None:
        """Let others have all that is in hand, from a thread, as the event loop is blocked and this process ends.

        Raises:
            RedisError: Redis is away.
        """
        self._heartbeat.give_back_all()

    def may_run_at(self, now: float, delivery: Delivery) -> bool:
        """Whether a delivery may run now, as nearly all may; where not, `may_run` waits until that is certain."""
        return self.lease.is_trusted_at(now) and not delivery.is_lost

    async def may_run(self, delivery: Delivery) -> bool:
        """Wait until the lease is certain; False where the delivery is another worker's by then."""
        while not self.lease.is_trusted and not delivery.is_lost:  # noqa: ASYNC110  # a thread renews it, seldom late
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        return not delivery.is_lost

    async def wait_for_settling(self) -> None:
        """Wait for Redis to take what has ended, while that is all there is, for up to the send deadline each."""
        while self._held() and not self.gives_up_settling():  # noqa: ASYNC110  # a single look each time is simplest
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        for delivery in self._held():
            logger.warning("Redis does not come back: task %s has ended, but will run again", delivery.task_id)
            delivery.is_lost = True

    def gives_up_settling(self) -> bool:
        """Whether all that is in hand has ended, and Redis has not taken it within the send deadline."""
        settled_by = local_time() - self._options.send_deadline
        held = self._held()
        return bool(held) and all(one.settling_since is not None and one.settling_since < settled_by for one in held)

    async def _find_cancelled(self, deliveries: Sequence[Delivery]) -> None:
        """Look once for all of them, until Redis answers: its error would be no task's.

        A mark names a task, or an entry: one that was marked while it ran elsewhere keeps its mark when it is moved.
        """
        for delivery in deliveries:
            delivery.read = self._read_message(delivery.data)
        if (known := self._fetcher.marks.known) is not None:
            for delivery in deliveries:
                is_of_task = delivery.read is not None and delivery.read.task_id in known
                delivery.is_cancelled = is_of_task or delivery.mark in known
            return
        names = [name for one in deliveries for name in (one.read.task_id if one.read else "", one.mark)]
        scripts = self._clients.scripts
        tries = 0
        while not self._fetcher.is_interrupted:
            try:
                marks = await scripts.execute_command("ZMSCORE", self._keys.cancelled, *names)
            except (RedisError, OSError) as error:
                if not tries:
                    logger.warning("Cannot see yet which tasks were cancelled: %s", reason(error))
                if not may_pass(error):
                    return
                tries += 1
                await asyncio.sleep(pause(tries))
            else:
                found = cast("list[object]", marks)
                for delivery, *pair in zip(deliveries, found[::2], found[1::2], strict=True):
                    delivery.is_cancelled = any(mark is not None for mark in pair)
                return

    def _held(self) -> list[Delivery]:
        return [one for one in self.in_flight.all() if not one.is_lost]

    async def _after_failed_read(self, error: Exception) -> None:
        if isinstance(error, ResponseError) and "NOGROUP" in str(error):
            self._heartbeat.register_again()
        elif not self._failures:
            level = (
                "The queue is out of reach, asking again: %s" if is_outage(error) else "The queue cannot be read: %s"
            )
            logger.warning(level, reason(error))
        self._heartbeat.look_for_strays()
        self._failures += 1
        await asyncio.sleep(pause(self._failures))


def _at_once(deliveries: list[Delivery], rule: SuspectRule) -> list[Delivery]:
    """What may run at once: a read that waits may be handed suspects of several streams."""
    if rule is SuspectRule.WARD:
        return [one for one in deliveries if one.stream == deliveries[0].stream]
    if rule is SuspectRule.ONE:
        first = next((one for one in deliveries if one.is_suspect), None)
        return [one for one in deliveries if one is first or not one.is_suspect]
    return deliveries
