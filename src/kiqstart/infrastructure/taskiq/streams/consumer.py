"""A worker's side of the broker: what it reads, has in hand, settles and gives back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from logging import getLogger
from typing import Final, Protocol

from redis.exceptions import RedisError, ResponseError

from kiqstart.infrastructure.taskiq.streams.delivery import DeliveriesInHand, Delivery, local_time
from kiqstart.infrastructure.taskiq.streams.fetching import Fetcher, NotRegisteredError
from kiqstart.infrastructure.taskiq.streams.heartbeat import Events, Heartbeat
from kiqstart.infrastructure.taskiq.streams.janitor import Janitor, give_back_call
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import Lease
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.outage import is_outage, pause, reason
from kiqstart.infrastructure.taskiq.streams.overruns import Overruns
from kiqstart.infrastructure.taskiq.streams.script import Script
from kiqstart.infrastructure.taskiq.streams.settling import Settler

logger = getLogger(__name__)

_GIVE_BACK: Final = Script("give_back")
# How long a read waits for a message; also how long an idle worker takes to notice that it is to end.
WAIT_SECONDS: Final = 0.4
_SECONDS_FOR_AN_ANSWER: Final = 5.0
_SECONDS_BETWEEN_LOOKS: Final = 0.05


class Closable(Protocol):
    """An async client."""

    async def aclose(self) -> None:
        """Let its connections go."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConsumerClients:
    """The connections of a worker: for scripts, for large ones, for reads that wait, and for the lease's thread."""

    scripts: object
    large_scripts: object
    reader: Closable
    thread: object


class StreamConsumer:
    """Everything that one worker process does with the streams.

    Args:
        clients: its connections.
        weights: the queues it takes, each with its weight.
        result_ttl: seconds for which results are kept; None for ever.
        on_dead_letter: is given each message that was buried since its workers died of it, in the lease's thread.
    """

    def __init__(
        self,
        clients: ConsumerClients,
        keys: QueueKeys,
        *,
        group: str,
        weights: Mapping[str, int],
        options: StreamOptions,
        result_ttl: float | None,
        on_dead_letter: Callable[[bytes], None],
    ) -> None:
        self._clients = clients
        self._keys = keys
        self._group = group
        self._options = options
        self.in_hand = DeliveriesInHand()
        self.lease = Lease(options.observation)
        self.overruns = Overruns(grace=options.overrun_grace, replace=options.replace_overrun)
        self._settler = Settler(
            clients.scripts, keys, group=group, options=options, result_ttl=result_ttl, large=clients.large_scripts
        )
        self._fetcher = Fetcher(
            clients.scripts,
            clients.large_scripts,
            clients.reader,
            keys,
            group=group,
            weights=weights,
            lease=self.lease,
            in_hand=self.in_hand,
            wait=WAIT_SECONDS,
        )
        janitor = Janitor(
            clients.thread, keys, group=group, options=options, in_hand=self.in_hand, on_dead_letter=on_dead_letter
        )
        self._heartbeat = Heartbeat(
            clients.thread,
            keys,
            group=group,
            queues=list(weights),
            options=options,
            lease=self.lease,
            in_hand=self.in_hand,
            janitor=janitor,
            overruns=self.overruns,
            events=Events(on_lost=_cancel_runners, on_cancelled=_cancel_runners),
        )
        self._failures = 0

    async def start(self) -> None:
        """Register with Redis and begin to renew the lease.

        Raises:
            RedisError: Redis is away, or a key of the queue holds something else.
        """
        await asyncio.to_thread(self._heartbeat.start, asyncio.get_running_loop())

    async def stop(self) -> None:
        """Give back what is still in hand, wait for Redis to take what has ended, and leave."""
        await self.give_back([one for one in self._held() if one.settling_since is None])
        await self.wait_for_settling()
        # A read that is still waiting could be handed something after the last look for strays.
        await self._clients.reader.aclose()
        await asyncio.to_thread(self._heartbeat.stop)

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
        if deliveries and deliveries[0].is_suspect:
            room = 1
        if len(deliveries) > room:
            await self.give_back(deliveries[room:])
        return deliveries[:room]

    async def settle(self, delivery: Delivery) -> None:
        """Apply what became of a delivery, where it is still this worker's."""
        if delivery.is_lost:
            self.in_hand.let_go(delivery)
            return
        delivery.settling_since = local_time()
        is_ours = (await self._settler.settle(delivery))[0]
        if isinstance(is_ours, RedisError):
            logger.error("Task %s could not be settled and will run again: %s", delivery.task_id, reason(is_ours))
        elif isinstance(is_ours, BaseException):
            raise is_ours
        elif not is_ours:
            logger.warning("Task %s was given to another worker; what it did here is dropped", delivery.task_id)
        delivery.is_settled = True
        self.in_hand.let_go(delivery)

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once. Without Redis they get them when this worker's lease has ended."""
        by_stream = sorted(deliveries, key=lambda one: (one.stream, one.worker))
        for (stream, worker), group in groupby(by_stream, key=lambda one: (one.stream, one.worker)):
            ours = list(group)
            for delivery in ours:
                delivery.is_lost = True
                self.in_hand.let_go(delivery)
            entries = [one.entry for one in ours]
            keys, arguments = give_back_call(
                self._keys, self._options, self._group, ours[0].queue, stream, worker, entries
            )
            try:
                await asyncio.wait_for(_GIVE_BACK(self._clients.scripts, keys, arguments), _SECONDS_FOR_AN_ANSWER)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("%d tasks stay until this worker's lease ends: %s", len(ours), reason(error))

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

    @property
    def cancelled_tasks(self) -> int:
        """How many tasks were marked as cancelled when this worker read last."""
        return self._fetcher.cancelled_tasks

    def _held(self) -> list[Delivery]:
        return [one for one in self.in_hand.all() if not one.is_lost]

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


def _cancel_runners(deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        if delivery.runner is not None and not delivery.runner.done():
            delivery.runner.cancel()
