"""What every task of a stream broker goes through."""

import asyncio
import traceback
from collections.abc import Coroutine
from typing import Any, Protocol

from taskiq import BrokerMessage, TaskiqMessage, TaskiqResult

from kiqstart.broker.delivery import DeadLetterReason, current_delivery
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.hooks import ChecksForOtherReceivers
from kiqstart.tasks.messages import with_labels


class DeliveringBroker(Protocol):
    """A broker that knows whose deliveries it has, and keeps dead letters."""

    async def may_run(self, task_id: str) -> bool:
        """Wait until it is certain whose delivery this is; False where it is another worker's."""
        ...

    async def bury(self, message: BrokerMessage, reason: DeadLetterReason, detail: str) -> None:
        """Keep a message that will not be run again."""


class DeliveryMiddleware(ChecksForOtherReceivers):
    """Starts no task that is another worker's by now, and buries calls whose arguments do not validate."""

    def __init__(self, broker: DeliveringBroker) -> None:
        super().__init__()
        self._deliveries = broker

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage | Coroutine[Any, Any, TaskiqMessage]:
        """Look once more, right before the task starts, whether it may; kiqstart's receiver has just done so.

        Raises:
            CancelledError: another worker has it. To taskiq that is a task that was cancelled.
        """
        return message if current_delivery.get() is not None else self._if_ours(message)

    async def _if_ours(self, message: TaskiqMessage) -> TaskiqMessage:
        if not await self._deliveries.may_run(message.task_id):
            raise asyncio.CancelledError
        return message

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[object],  # noqa: ARG002  # taskiq's hook
        exception: BaseException,
    ) -> None:
        """Bury the message of an invalid call; its caller gets the error as the result."""
        if isinstance(exception, InvalidTaskArgumentsError):
            detail = "".join(traceback.format_exception(exception))
            text = self.broker.formatter.dumps(with_labels(message, {}))
            await self._deliveries.bury(text, DeadLetterReason.INVALID_ARGUMENTS, detail)
