"""How a worker runs the task of a delivery: what is asked of it on the way, and what becomes of its end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from taskiq import AsyncBroker, NoResultError, TaskiqMessage, TaskiqResult
from taskiq.acks import AckController, AcknowledgeType

from kiqstart.broker.ack import DeliveryAcks
from kiqstart.broker.delivery import DONE, Delivery, current_delivery
from kiqstart.broker.receiver.base import BaseReceiver
from kiqstart.broker.receiver.failed_runs import is_expected
from kiqstart.broker.receiver.function_end import is_being_cancelled, leave_function
from kiqstart.broker.receiver.misfit import TaskCall
from kiqstart.broker.results import StreamResultBackend
from kiqstart.broker.run_lines import delivery_starts
from kiqstart.clock import local_time
from kiqstart.tasks.hooks import Hooks, Sent
from kiqstart.tasks.label_values import ACK_TYPE_LABEL, ack_type_of
from kiqstart.tasks.results.errors import TaskCancelledError

if TYPE_CHECKING:
    from kiqstart.broker.consumer import StreamConsumer
    from kiqstart.broker.receiver.preflight import Preflight

# What a hook may take once its task was cancelled while another one hung.
_SECONDS_WHEN_CANCELLED: Final = 1.0
# For how long a look at the lease tells that its time is not over: a small part of what is kept back of it.
_SECONDS_CERTAIN: Final = 0.005


class DeliveryReceiver(BaseReceiver):
    """Runs tasks that came in deliveries as those need it, and the tasks of other brokers as taskiq does.

    Args:
        options: taskiq's, of its receiver.
    """

    def __init__(self, broker: AsyncBroker, **options: Any) -> None:  # noqa: ANN401  # handed on
        super().__init__(broker, **options)
        self._consumer: StreamConsumer | None = None
        self._preflight: Preflight | None = None

    def log_start(self, message: TaskiqMessage) -> None:
        """Log that a task's function is about to be called."""
        delivery = current_delivery.get()
        if delivery is None:
            super().log_start(message)
        else:
            delivery_starts(delivery)

    def log_error(self, message: TaskiqMessage, error: BaseException) -> None:
        """Keep what a task raised for the line of its end, unless it was cancelled or is another worker's by now."""
        delivery = current_delivery.get()
        if delivery is None:
            super().log_error(message, error)
        elif not is_expected(error, delivery):
            delivery.error = error

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
            self.make_room(delivery)
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

    def make_room(self, delivery: Delivery) -> None:
        """Let others have the part of this worker's capacity that a delivery has had."""
