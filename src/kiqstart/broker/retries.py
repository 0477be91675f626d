"""Retries that wait where the queue is, not in a worker's memory."""

import math
import random
import traceback
from logging import getLogger
from typing import Protocol, cast

from taskiq import AsyncBroker, BrokerMessage, NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.tasks.errors import InvalidTaskArgumentsError, TaskInterruptedError
from kiqstart.tasks.label_values import (
    LONGEST_SECONDS,
    RETRIES_LABEL,
    max_retries_of,
    retries_of,
    retry_backoff_of,
    retry_delay_of,
    retry_jitter_of,
    retry_max_delay_of,
)
from kiqstart.tasks.messages import with_labels
from kiqstart.tasks.results.errors import TaskCancelledError

__all__ = ["RETRIES_LABEL", "RetryMiddleware", "RetryQueue", "retry_delay"]

logger = getLogger(__name__)


class RetryQueue(Protocol):
    """Where the next try of a task waits, and where a task goes that has had all of its tries."""

    async def retry(self, message: BrokerMessage, delay: float, *, is_first: bool = False) -> None:
        """Send the message after `delay` seconds; before others, where `is_first`."""

    async def bury(self, message: BrokerMessage, reason: DeadLetterReason, detail: str) -> None:
        """Keep the message as a dead letter."""


class RetryMiddleware(TaskiqMiddleware):
    """Runs a failed task again, as the options of `register_task` say.

    The retry keeps the task's id; the caller's `wait_result` sees the last try's result only. A task whose tries are
    spent is a dead letter. A call with invalid arguments is not tried again. A task that was interrupted by its
    worker's end is sent again at once, and that counts as no retry.
    """

    def __init__(self, queue: RetryQueue) -> None:
        super().__init__()
        self._queue = queue

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:
        """Store the next try, and keep this one's error from being stored as the result."""
        retries = retries_of(message)
        if isinstance(exception, TaskInterruptedError):
            logger.info(
                "Task %s with id %s is left to the next worker: %s", message.task_name, message.task_id, exception
            )
            await self._queue.retry(self._dumped(message, retries), 0.0, is_first=True)
            result.error = NoResultError()
            return
        limit = max_retries_of(message)
        if not limit or not self._is_worth_another_try(message, exception):
            return
        if retries >= limit:
            await self._bury(message, exception, retries)
            return
        delay = retry_delay(message, retries)
        logger.warning(
            "Task %s with id %s failed (%s: %s); retry %d of %d in %g seconds",
            message.task_name,
            message.task_id,
            type(exception).__name__,
            exception,
            retries + 1,
            limit,
            round(delay, 3),
        )
        await self._queue.retry(self._dumped(message, retries + 1), delay)
        result.error = NoResultError()

    async def _bury(self, message: TaskiqMessage, exception: BaseException, retries: int) -> None:
        logger.error(
            "Task %s with id %s has failed %d times and is a dead letter",
            message.task_name,
            message.task_id,
            retries + 1,
        )
        detail = "".join(traceback.format_exception(exception))
        await self._queue.bury(self._dumped(message, 0), DeadLetterReason.RETRIES_EXHAUSTED, detail)

    def _dumped(self, message: TaskiqMessage, retries: int) -> BrokerMessage:
        return self.broker.formatter.dumps(with_labels(message, {RETRIES_LABEL: retries}))

    def _is_worth_another_try(self, message: TaskiqMessage, exception: BaseException) -> bool:
        if isinstance(exception, InvalidTaskArgumentsError | NoResultError | TaskCancelledError):
            return False
        # Classes do not travel: taskiq keeps this label with the registered task only.
        retry_on = cast("tuple[type[Exception], ...]", _registered_label(self.broker, message, "types_of_exceptions"))
        return isinstance(exception, retry_on or ())


def retry_delay(message: TaskiqMessage, retries: int) -> float:
    """Seconds until the next try of a task that has been tried again `retries` times.

    `retry_delay`, times `retry_backoff` for each retry before, up to `retry_max_delay`; then less or more by chance, by
    up to the share `retry_jitter` of it.
    """
    delay, jitter = retry_delay_of(message), retry_jitter_of(message)
    if delay:
        try:
            growth = retry_backoff_of(message) ** retries
        except OverflowError:
            growth = math.inf
        delay = min(delay * growth, retry_max_delay_of(message))
    return min(delay * random.uniform(1 - jitter, 1 + jitter), LONGEST_SECONDS)  # noqa: S311  # not a secret


def _registered_label(broker: AsyncBroker, message: TaskiqMessage, label: str) -> object:
    task = broker.find_task(message.task_name)
    return task.labels.get(label) if task is not None else None
