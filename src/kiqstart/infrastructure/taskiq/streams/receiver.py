"""kiqstart's receiver: takes messages many at a time, and ends cleanly."""

import asyncio
import functools
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Any, Final

from taskiq import AsyncBroker, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController, AcknowledgeType

from kiqstart.infrastructure.taskiq.garbage import collect_garbage_seldom
from kiqstart.infrastructure.taskiq.running import RunningReceiver
from kiqstart.infrastructure.taskiq.shutdown import on_shutdown_signals
from kiqstart.infrastructure.taskiq.streams.acknowledging import DeliveryAcks
from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker
from kiqstart.infrastructure.taskiq.streams.consumer import StreamConsumer
from kiqstart.infrastructure.taskiq.streams.delivery import Delivery, current_delivery, local_time
from kiqstart.infrastructure.taskiq.streams.errors import TaskCancelledError
from kiqstart.infrastructure.taskiq.streams.intake import Intake
from kiqstart.infrastructure.taskiq.streams.results import encode_failure

logger = getLogger(__name__)

# How long tasks that are cancelled at the end of the grace period may take to notice it.
_SECONDS_TO_CANCEL: Final = 1.0
_SECONDS_BETWEEN_LOOKS: Final = 1.0
# So many times its capacity a worker has in hand at most, where Redis is slow to take what has ended.
_MOST_IN_HAND: Final = 4
# What is read at most where the number of tasks has no limit.
_UNLIMITED: Final = 1000


class StreamReceiver(RunningReceiver):
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
        self._limit = limit if limit > 0 else _UNLIMITED
        self._capacity = self._limit + max_prefetch
        self._turns = asyncio.Semaphore(self._limit) if max_prefetch else None
        self._taking_turns: set[Delivery] = set()
        self._consumer: StreamConsumer | None = None
        # All that is in hand; and of these, those that still have a part of the capacity.
        self._running: set[asyncio.Task[None]] = set()
        self._occupied = 0
        self._threads: set[str] = set()
        self._changed = asyncio.Event()

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Run tasks until the event is set."""
        if not isinstance(self.broker, StreamBroker):
            await super().listen(finish_event)
            return
        if self.run_startup:
            await self.broker.startup()
        on_shutdown_signals(self._changed.set)
        if self.broker.is_worker_process:
            collect_garbage_seldom()
        consumer = self._consumer = await self.broker.consume()
        consumer.start_reading()
        logger.info("Listening started.")
        finish = asyncio.create_task(self._notice(finish_event))
        try:
            await self._take_messages(consumer, self.broker.intake(consumer), finish_event)
        finally:
            finish.cancel()
            await self._finish(consumer)
        if self.on_exit is not None:
            self.on_exit(self)

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Run a task; one that was cancelled meanwhile has that as its error.

        Raises:
            CancelledError: it is another worker's by now.
        """
        delivery, consumer = current_delivery.get(), self._consumer
        # This process may have stood still, or a hook taken its time, since that was looked at.
        if (
            delivery is not None
            and consumer is not None
            and not (delivery.is_settled or await consumer.may_run(delivery))
        ):
            raise asyncio.CancelledError
        result = await super().run_task(target, message, ack_controller)
        if delivery is not None:
            delivery.has_run = True
            if delivery.is_cancelled and isinstance(result.error, asyncio.CancelledError):
                result.error = TaskCancelledError(message.task_id)
        return result

    def stores_with_acknowledgement(self, acks: AckController) -> bool:
        """Whether the broker's own result backend has laid a result by."""
        return isinstance(acks, DeliveryAcks) and acks.has_result

    async def call(self, target: Callable[..., Any], message: TaskiqMessage, kwargs: Mapping[str, Any]) -> object:
        """Call a task's function, and notice where it goes on after its time-out."""
        consumer, timeout = self._consumer, message.labels.get("timeout")
        if consumer is None or current_delivery.get() is None:
            return await super().call(target, message, kwargs)
        if not self.is_coroutine(message.task_name, target):
            if not self.is_process_pool:
                target = self._tracked(target, message, timeout, consumer)
            return await super().call(target, message, kwargs)
        with consumer.overruns.watching(message.task_name, message.task_id, float(str(timeout))):
            return await super().call(target, message, kwargs)

    def log_error(self, message: TaskiqMessage, error: BaseException) -> None:
        """Log what a task raised; that it was cancelled, or given to another worker, is no error of its own."""
        delivery = current_delivery.get()
        is_asked_for = delivery is not None and (delivery.is_cancelled or delivery.is_lost)
        if not (is_asked_for and isinstance(error, asyncio.CancelledError)):
            super().log_error(message, error)

    async def _take_messages(self, consumer: StreamConsumer, intake: Intake, finish_event: asyncio.Event) -> None:
        left = self.max_tasks_to_execute or sys.maxsize
        while not finish_event.is_set():
            if left <= 0 and not self._running:
                logger.info("Max number of tasks executed.")
                return
            room = min(self._capacity - self._occupied, self._capacity * _MOST_IN_HAND - len(self._running), left)
            if room <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            deliveries = await consumer.fetch(room)
            if finish_event.is_set():
                await consumer.give_back(deliveries)
                return
            left -= len(deliveries)
            for delivery in deliveries:
                self._start(consumer, intake, delivery)

    async def _notice(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        self._changed.set()
        if self._consumer is not None:
            await self._consumer.stop_reading()

    def _start(self, consumer: StreamConsumer, intake: Intake, delivery: Delivery) -> None:
        self._occupied += 1
        delivery.runner = runner = asyncio.create_task(self._run(consumer, intake, delivery))
        self._running.add(runner)
        runner.add_done_callback(functools.partial(self._end, consumer, delivery))

    def _end(self, consumer: StreamConsumer, delivery: Delivery, runner: asyncio.Task[None]) -> None:
        self._running.discard(runner)
        self._make_room(delivery)
        self._changed.set()
        if delivery.is_lost:
            consumer.in_hand.let_go(delivery)

    async def _run(self, consumer: StreamConsumer, intake: Intake, delivery: Delivery) -> None:
        current_delivery.set(delivery)
        try:
            await self._run_accepted(consumer, intake, delivery)
        except asyncio.CancelledError:
            if delivery.is_cancelled and not delivery.is_settled:
                await intake.settle_cancelled(delivery)
        except Exception as error:
            # A hook of a middleware has raised: taskiq would leave the message unacknowledged.
            logger.exception("Task %s failed outside of its function", delivery.task_id)
            delivery.result = encode_failure(error)
            await consumer.settle(delivery)

    async def _run_accepted(self, consumer: StreamConsumer, intake: Intake, delivery: Delivery) -> None:
        task = await intake.accept(delivery)
        message = delivery.message
        if task is None or message is None:
            return
        if self._turns is not None:
            await self._turns.acquire()
            self._taking_turns.add(delivery)
        if not await consumer.may_run(delivery):
            return
        if not consumer.in_hand.begin(delivery):
            return
        await self.run_message(task, message, DeliveryAcks(consumer, delivery, self._make_room))
        if not delivery.is_settled and not delivery.is_lost:
            await intake.settle_unacknowledged(delivery)

    def _make_room(self, delivery: Delivery) -> None:
        if delivery.is_occupying:
            delivery.is_occupying = False
            self._occupied -= 1
            self._changed.set()
        if self._turns is not None and delivery in self._taking_turns:
            self._taking_turns.discard(delivery)
            self._turns.release()

    async def _finish(self, consumer: StreamConsumer) -> None:
        waiting = [one for one in consumer.in_hand.all() if not one.is_started and not one.is_lost]
        await consumer.give_back(waiting)
        if self._running:
            logger.info("Waiting for %d running tasks to complete...", len(self._running))
        await asyncio.gather(self._wait_for_running(consumer), self._end_quarantine())
        interrupted = [one for one in consumer.in_hand.all() if not one.is_lost and one.settling_since is None]
        if interrupted:
            await self._interrupt(consumer, interrupted)
            if self._threads:
                await self._leave_threads()
        # Not left to the broker's shutdown, for which taskiq allows five seconds.
        await consumer.wait_for_settling()

    async def _interrupt(self, consumer: StreamConsumer, deliveries: Sequence[Delivery]) -> None:
        logger.warning("%d tasks did not end in time and are given back", len(deliveries))
        runners = [one.runner for one in deliveries if one.runner is not None]
        for delivery in deliveries:
            delivery.is_lost = True
        for runner in runners:
            runner.cancel()
        if runners:
            await asyncio.wait(runners, timeout=_SECONDS_TO_CANCEL)
        await consumer.give_back(deliveries)

    @property
    def _grace(self) -> float:
        return float("inf") if self.wait_tasks_timeout is None else self.wait_tasks_timeout

    async def _end_quarantine(self) -> None:
        if isinstance(self.broker, StreamBroker):
            await self.broker.end_quarantine(self._grace)

    async def _wait_for_running(self, consumer: StreamConsumer) -> None:
        deadline = local_time() + self._grace
        while self._running and local_time() < deadline and not consumer.gives_up_settling():
            await asyncio.wait(self._running, timeout=min(deadline - local_time(), _SECONDS_BETWEEN_LOOKS))

    async def _leave_threads(self) -> None:
        # Threads cannot be stopped, and Python would wait for them: they end with the process.
        logger.warning("%d tasks in threads are cut off", len(self._threads))
        await self.broker.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _tracked(
        self, target: Callable[..., Any], message: TaskiqMessage, timeout: object, consumer: StreamConsumer
    ) -> Callable[..., Any]:
        @functools.wraps(target)
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the task's own
            self._threads.add(message.task_id)
            seconds = float("inf") if timeout is None else float(str(timeout))
            try:
                with consumer.overruns.watching(message.task_name, message.task_id, seconds):
                    return target(*args, **kwargs)
            finally:
                self._threads.discard(message.task_id)

        return run
