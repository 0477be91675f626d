"""kiqstart's receiver: takes messages many at a time, and ends cleanly."""

import asyncio
import functools
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging import getLogger
from typing import Any, Final

from redis.exceptions import RedisError
from taskiq import AsyncBroker, NoResultError, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController, AcknowledgeType

from kiqstart.broker.ack import DeliveryAcks
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import DONE, DeadLetterReason, Delivery, current_delivery
from kiqstart.broker.logged_lines import keep_logged_lines
from kiqstart.broker.receiver.function_end import is_being_cancelled, leave_function
from kiqstart.broker.receiver.garbage import collect_garbage_seldom
from kiqstart.broker.receiver.logging_receiver import LoggingReceiver
from kiqstart.broker.receiver.misfit import TaskCall
from kiqstart.broker.receiver.preflight import Preflight
from kiqstart.broker.receiver.receiver_shutdown import ReceiverShutdown
from kiqstart.broker.redis_retry import reason
from kiqstart.broker.results import StreamResultBackend
from kiqstart.broker.run_lines import delivery_ends
from kiqstart.clock import local_time
from kiqstart.observability.task_fields import carry_task_fields, current_run
from kiqstart.processes.exits import end_with_process_manager
from kiqstart.tasks.hooks import Hooks, Sent
from kiqstart.tasks.label_values import ACK_TYPE_LABEL, ack_type_of
from kiqstart.tasks.progress import reporting_run
from kiqstart.tasks.results.errors import TaskCancelledError

logger = getLogger(__name__)

# So many times its capacity a worker has in hand at most, where Redis is slow to take what has ended.
_MOST_IN_HAND: Final = 4
# What a hook may take once its task was cancelled while another one hung.
_SECONDS_WHEN_CANCELLED: Final = 1.0
# For how long a look at the lease tells that its time is not over: a small part of what is kept back of it.
_SECONDS_CERTAIN: Final = 0.005
# What is read at most where the number of tasks has no limit.
_UNLIMITED: Final = 1000


class StreamReceiver(LoggingReceiver):
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
        self._consumer: StreamConsumer | None = None
        self._preflight: Preflight | None = None
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

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Run a task; one that was cancelled meanwhile has that as its error.

        Raises:
            CancelledError: it is another worker's by now.
        """
        delivery, consumer = current_delivery.get(), self._consumer
        if delivery is None or consumer is None:
            return await super().run_task(target, message, ack_controller)
        # This process may have stood still, or a hook taken its time, since that was looked at.
        began_at = local_time()
        is_certain = began_at - delivery.allowed_at < _SECONDS_CERTAIN and not delivery.is_lost
        if not (is_certain or delivery.is_settled or consumer.may_run_at(began_at, delivery)):
            if not await consumer.may_run(delivery):
                raise asyncio.CancelledError
            began_at = local_time()
        delivery.began_at = began_at
        result = await super().run_task(target, message, ack_controller)
        delivery.seconds = local_time() - began_at
        consumer.stats.ran(delivery)
        if not delivery.has_run:
            await leave_function(delivery)
        return result

    async def refuse(self, message: TaskiqMessage, error: BaseException) -> TaskiqResult[Any]:
        """The result of a task before which a middleware has raised.

        Raises:
            CancelledError: nothing has failed: the task is another worker's, or this event loop ends.
        """
        delivery = current_delivery.get()
        if delivery is not None and not delivery.is_cancelled:
            is_ending = isinstance(error, asyncio.CancelledError) and is_being_cancelled()
            if delivery.is_lost or is_ending:
                raise asyncio.CancelledError
        return await super().refuse(message, error)

    async def handle_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], error: BaseException, call: TaskCall | None
    ) -> None:
        """Log an error and tell the middlewares, unless other workers are to try first."""
        delivery, preflight = current_delivery.get(), self._preflight
        if delivery is None or preflight is None:
            await super().handle_error(message, result, error, call)
            return
        await leave_function(delivery)
        verdict = preflight.failed_runs.judge(delivery, error, call)
        result.error = verdict.error
        delivery.has_failed = verdict.is_failure and not isinstance(error, NoResultError)
        delivery.problem = preflight.failed_runs.kept_problem(verdict)
        if verdict.is_failure:
            await super().handle_error(message, result, verdict.error, call)
        result.error = verdict.applied(delivery, result.error)

    def hook_limit(self) -> asyncio.Timeout:
        """What ends a middleware's hook that takes too long, or whose task is cancelled or lost meanwhile."""
        delivery = current_delivery.get()
        if delivery is None or self._consumer is None:
            return super().hook_limit()
        seconds = self._consumer.hook_timeout
        if delivery.has_run and delivery.is_cancelled:
            seconds = min(seconds, _SECONDS_WHEN_CANCELLED)
        delivery.hook = asyncio.timeout(seconds)
        return delivery.hook

    async def save(self, message: TaskiqMessage, result: TaskiqResult[Any], *, raise_err: bool) -> bool:
        """Store a result; that of a task that was cancelled while a hook hung is that."""
        delivery = current_delivery.get()
        if delivery is not None and delivery.is_cut and delivery.is_cancelled and not delivery.is_settled:
            delivery.outcome = DONE
            result.is_err, result.return_value, result.error = True, None, TaskCancelledError(delivery.task_id)
        is_saved = await super().save(message, result, raise_err=raise_err)
        if delivery is not None:
            delivery.is_saved, delivery.has_result = True, is_saved
        if delivery is not None and delivery.is_early and self._preflight is not None:
            self._make_room(delivery)
            await self._preflight.end(delivery)
        return is_saved

    def store(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> Awaitable[None] | None:
        """Hand a result to the result backend; the broker's own has nothing to do before the acknowledgement."""
        delivery, backend = current_delivery.get(), self.broker.result_backend
        if delivery is None or delivery.is_settled or not isinstance(backend, StreamResultBackend):
            return super().store(message, result)
        if delivery.task_id != message.task_id:
            return super().store(message, result)
        backend.lay_by(delivery, result)
        return None

    def hooks_before(self, hooks: Hooks, acks: AckController) -> Sequence[Sent]:
        """Which of the middlewares' hooks are called before a task runs."""
        return hooks.pre_execute_checked if isinstance(acks, DeliveryAcks) else hooks.pre_execute

    def stores_with_acknowledgement(self, acks: AckController) -> bool:
        """Whether the broker's own result backend has laid a result by."""
        return isinstance(acks, DeliveryAcks) and acks.has_result

    async def call(
        self,
        target: Callable[..., Any],
        message: TaskiqMessage,
        kwargs: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  # a label's
    ) -> object:
        """Call a task's function, and notice where it goes on after its time-out."""
        consumer = self._consumer
        if consumer is None or current_delivery.get() is None:
            return await super().call(target, message, kwargs, timeout)
        if not self.is_coroutine(message.task_name, target):
            if self.pool is None:
                target = consumer.timeout_watchdog.tracked(target, message.task_name, message.task_id, timeout)
            return await super().call(target, message, kwargs, timeout)
        with consumer.timeout_watchdog.watching(message.task_name, message.task_id, timeout):
            return await super().call(target, message, kwargs, timeout)

    def _get_ack_time(self, message: TaskiqMessage) -> AcknowledgeType:
        if ACK_TYPE_LABEL not in message.labels:
            return self.ack_time
        # taskiq raises where the label makes no sense, and leaves the message.
        return super()._get_ack_time(message) if current_delivery.get() is None else ack_type_of(message, self.ack_time)

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
            self._make_room(delivery)
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
        acks = DeliveryAcks(consumer, preflight, delivery, self._make_room)
        await self.run_message(task, message, acks)
        if delivery.is_settled or delivery.is_lost:
            return
        if delivery.outcome is DONE and not delivery.is_cancelled:
            await preflight.settle_unacknowledged(delivery)
        else:
            await acks.ack()

    def _make_room(self, delivery: Delivery) -> None:
        if delivery.is_occupying:
            delivery.is_occupying = False
            self._occupied -= 1
            self._changed.set()
        if self._turns is not None and delivery in self._taking_turns:
            self._taking_turns.discard(delivery)
            self._turns.release()
