"""What is done with a delivery before its task may run."""

import traceback
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, cast

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask
from taskiq.exceptions import UnknownTaskError

from kiqstart.infrastructure.taskiq.messages import with_labels
from kiqstart.infrastructure.taskiq.streams.consumer import StreamConsumer
from kiqstart.infrastructure.taskiq.streams.delivery import Again, Dead, DeadReason, Delivery
from kiqstart.infrastructure.taskiq.streams.errors import TaskCancelledError
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.results import encode_failure

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = getLogger(__name__)

UNACKNOWLEDGED_LABEL: Final = "unacknowledged"
_SECONDS_UNTIL_AGAIN: Final = 60.0


class Intake:
    """Sorts out what cannot be run (a dead letter) and what was cancelled."""

    def __init__(
        self, broker: AsyncBroker, consumer: StreamConsumer, redis: object, keys: QueueKeys, options: StreamOptions
    ) -> None:
        self._options = options
        self._broker = broker
        self._consumer = consumer
        self._redis = cast("Redis", redis)
        self._keys = keys

    async def accept(self, delivery: Delivery) -> AsyncTaskiqDecoratedTask[..., Any] | None:
        """The task that is to be run; None for what is none, which is settled here."""
        if not delivery.is_well_formed:
            detail = "the entry has no field 'data'; its fields are kept as the message"
            await self._bury(delivery, DeadReason.MALFORMED, detail)
            return None
        try:
            message = self._broker.formatter.loads(delivery.data)
            message.parse_labels()
        except Exception:  # noqa: BLE001  # whatever a serializer raises
            await self._bury(delivery, DeadReason.MALFORMED, traceback.format_exc())
            return None
        self._consumer.in_hand.name(delivery, message)
        if delivery.is_cancelled:
            await self.settle_cancelled(delivery)
            return None
        task = self._broker.find_task(message.task_name)
        if task is None:
            known = ", ".join(sorted(self._broker.get_all_tasks()))
            error = UnknownTaskError(task_name=message.task_name)
            delivery.result = encode_failure(error)
            await self._bury(
                delivery,
                DeadReason.UNKNOWN_TASK,
                f"this worker has no task {message.task_name!r}; it has: {known}",
            )
        return task

    async def settle_cancelled(self, delivery: Delivery) -> None:
        """End a delivery whose task was cancelled; its caller gets that as the error."""
        logger.info("Task %s was cancelled", delivery.task_id)
        delivery.result = encode_failure(TaskCancelledError(delivery.task_id))
        await self._consumer.settle(delivery)

    async def settle_unacknowledged(self, delivery: Delivery) -> None:
        """Run a task again that was to acknowledge by itself (`ack_type="manual"`) and has not.

        It is run as often as a message may go down with its worker; then it is a dead letter.
        """
        message = delivery.message
        if message is None:
            return
        times = int(message.labels.get(UNACKNOWLEDGED_LABEL, 0)) + 1
        text = with_labels(message, {UNACKNOWLEDGED_LABEL: times})
        if times < self._options.max_deliveries:
            delivery.outcome = Again(message=self._broker.formatter.dumps(text).message, delay=_SECONDS_UNTIL_AGAIN)
        else:
            detail = f"the task has ended {times} times without acknowledging its message"
            delivery.outcome = Dead(reason=DeadReason.NOT_ACKNOWLEDGED, detail=detail, message=delivery.data)
        await self._consumer.settle(delivery)

    async def _bury(self, delivery: Delivery, reason: DeadReason, detail: str) -> None:
        logger.error("A message cannot be run and is a dead letter (%s): %s", reason, detail.strip().splitlines()[-1])
        delivery.outcome = Dead(reason=reason, detail=detail, message=delivery.data)
        await self._consumer.settle(delivery)
