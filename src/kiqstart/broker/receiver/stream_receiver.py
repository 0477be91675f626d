"""kiqstart's receiver: takes messages many at a time, and ends cleanly."""

import asyncio
import functools
import random
import sys
from logging import getLogger
from typing import Any, Final

from redis.exceptions import RedisError
from taskiq import AsyncBroker
from taskiq.acks import AcknowledgeType

from kiqstart.broker.ack import DeliveryAcks
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import DONE, DeadLetterReason, Delivery, current_delivery
from kiqstart.broker.logged_lines import keep_logged_lines
from kiqstart.broker.receiver.delivery_receiver import DeliveryReceiver
from kiqstart.broker.receiver.garbage import collect_garbage_seldom
from kiqstart.broker.receiver.preflight import Preflight
from kiqstart.broker.receiver.receiver_shutdown import ReceiverShutdown
from kiqstart.broker.redis_retry import reason
from kiqstart.broker.run_lines import delivery_ends
from kiqstart.clock import local_time
from kiqstart.observability.task_fields import carry_task_fields, current_run
from kiqstart.processes.exits import end_with_process_manager
from kiqstart.tasks.progress import reporting_run

logger = getLogger(__name__)

# So many times its capacity a worker has in hand at most, where Redis is slow to take what has ended.
_MOST_IN_HAND: Final = 4
# What is read at most where the number of tasks has no limit.
_UNLIMITED: Final = 1000


class StreamReceiver(DeliveryReceiver):
    """The receiver of a `StreamBroker`; with any other broker it listens as taskiq's own.

    It reads as many messages at once as it has room for, and more while it waits for Redis to take what has ended. When
    it is to end, it reads no more, gives back at once what it has not started, waits for running tasks
    (`--wait-tasks-timeout`), then cancels them and gives them back.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        *,
        max_async_tasks: int | None = None,
        max_async_tasks_jitter: int = 0,
        max_prefetch: int = 0,
        **options: Any,  # noqa: ANN401  # taskiq's, handed on
    ) -> None:
        limit = max_async_tasks or 0
        if limit > 0:
            limit += random.randint(0, max_async_tasks_jitter)  # noqa: S311  # not a secret
        super().__init__(broker, max_async_tasks=limit, max_prefetch=max_prefetch, **options)
        if isinstance(broker, StreamBroker):
            broker.receiver_options = {
                "validate_params": self.validate_params,
                "propagate_exceptions": self.propagate_exceptions,
                "ack_type": AcknowledgeType(self.ack_time).value,
            }
            broker.slots = max(limit, 0)
        self._limit = limit if limit > 0 else _UNLIMITED
        self._capacity = self._limit + max_prefetch
        self._turns = asyncio.Semaphore(self._limit) if max_prefetch else None
        self._taking_turns: set[Delivery] = set()
        # All that is in hand; and of these, those that still have a part of the capacity.
        self._running: dict[Delivery, asyncio.Task[None]] = {}
        self._occupied = 0
        self._changed = asyncio.Event()

    async def receive(self, finish_event: asyncio.Event) -> None:
        """Run tasks until the event is set."""
        if not isinstance(self.broker, StreamBroker):
            await super().receive(finish_event)
            return
        if self.run_startup:
            await self.broker.startup()
        if self.broker.is_worker_process:
            collect_garbage_seldom()
            carry_task_fields()
            if self.broker.options.runs_kept and self.broker.options.run_log_bytes:
                keep_logged_lines(self.broker.options.run_log_bytes)
            end_with_process_manager()
        consumer = self._consumer = await self.broker.consume()
        consumer.start_reading()
        consumer.activity.used = lambda: min(self._occupied, self._limit)
        shutdown = ReceiverShutdown(self.broker, consumer, self._running, grace=self.wait_tasks_timeout)
        shutdown.expect(self._changed.set)
        preflight = self._preflight = self.broker.preflight(consumer)
        logger.info("Listening started.")
        finish = asyncio.create_task(self._notice(finish_event))
        try:
            await self._take_messages(consumer, preflight, finish_event)
        finally:
            finish.cancel()
            await shutdown.finish()
        if self.on_exit is not None:
            self.on_exit(self)

    async def _take_messages(self, consumer: StreamConsumer, preflight: Preflight, finish_event: asyncio.Event) -> None:
        left = self.max_tasks_to_execute or sys.maxsize
        while not finish_event.is_set():
            if left <= 0 and not self._running:
                logger.info("Max number of tasks executed.")
                return
            room = min(self._capacity - self._occupied, self._capacity * _MOST_IN_HAND - len(self._running), left)
            # Of messages that take more memory than they may, one is read in any case.
            if room <= 0 or (self._running and consumer.is_full):
                self._changed.clear()
                await self._changed.wait()
                continue
            consumer.activity.is_taking = True
            try:
                deliveries = await consumer.fetch(room)
            finally:
                consumer.activity.is_taking = False
            if finish_event.is_set():
                await consumer.give_back(deliveries)
                return
            left -= len(deliveries)
            consumer.activity.taken += len(deliveries)
            for delivery in deliveries:
                self._start(consumer, preflight, delivery)

    async def _notice(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        self._changed.set()
        if self._consumer is not None:
            await self._consumer.stop_reading()

    def _start(self, consumer: StreamConsumer, preflight: Preflight, delivery: Delivery) -> None:
        self._occupied += 1
        delivery.runner = runner = asyncio.create_task(self._run(consumer, preflight, delivery))
        self._running[delivery] = runner
        runner.add_done_callback(functools.partial(self._end, consumer, delivery))

    def _end(self, consumer: StreamConsumer, delivery: Delivery, _: asyncio.Task[None]) -> None:
        del self._running[delivery]
        # Both have a context that has the delivery: cycles, and with them a message and a result that may be large.
        delivery.runner = delivery.hook = None
        if delivery.is_occupying or self._turns is not None:
            self.make_room(delivery)
        self._changed.set()
        if delivery.is_lost:
            consumer.in_flight.discard(delivery)

    async def _run(self, consumer: StreamConsumer, preflight: Preflight, delivery: Delivery) -> None:
        current_delivery.set(delivery)
        current_run.set(delivery)
        reporting_run.set(delivery)
        try:
            await self._run_accepted(consumer, preflight, delivery)
        except asyncio.CancelledError:
            if delivery.is_lost or delivery.is_settled:
                return
            if delivery.is_cancelled:
                await preflight.settle_cancelled(delivery)
            else:
                await consumer.give_back([delivery])
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing may be left without an end
            logger.error("Task %s could not be ended as it should: %s", delivery.task_id, reason(error))  # noqa: TRY400  # one line
            if delivery.settling_since is None and not delivery.is_lost:
                is_refused = isinstance(error, RedisError)
                why = DeadLetterReason.NOT_ACKNOWLEDGED if is_refused else DeadLetterReason.MIDDLEWARE_FAILED
                await preflight.bury(delivery, why, error)
        finally:
            delivery_ends(delivery)

    async def _run_accepted(self, consumer: StreamConsumer, preflight: Preflight, delivery: Delivery) -> None:
        task = await preflight.accept(delivery)
        message = delivery.message
        if task is None or message is None:
            return
        if self._turns is not None:
            await self._turns.acquire()
            self._taking_turns.add(delivery)
        now = local_time()
        if not (consumer.may_run_at(now, delivery) or await consumer.may_run(delivery)):
            return
        if not consumer.in_flight.begin(delivery):
            return
        delivery.allowed_at = now
        consumer.stats.started(delivery, now)
        acks = DeliveryAcks(consumer, preflight, delivery, self.make_room)
        await self.run_message(task, message, acks)
        if delivery.is_settled or delivery.is_lost:
            return
        if delivery.outcome is DONE and not delivery.is_cancelled:
            await preflight.settle_unacknowledged(delivery)
        else:
            await acks.ack()

    def make_room(self, delivery: Delivery) -> None:
        """Let others have the part of this worker's capacity that a delivery has had."""
        if delivery.is_occupying:
            delivery.is_occupying = False
            self._occupied -= 1
            self._changed.set()
        if self._turns is not None and delivery in self._taking_turns:
            self._taking_turns.discard(delivery)
            self._turns.release()
