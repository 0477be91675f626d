"""Retries that wait where the delayed messages wait."""

from logging import getLogger
from typing import Final, cast

from taskiq import AsyncBroker, NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.labels import prepare_label

from kiqstart.infrastructure.taskiq.delayed import DelayedMessages
from kiqstart.infrastructure.taskiq.errors import InvalidTaskArgumentsError, TaskInterruptedError

logger = getLogger(__name__)

RETRIES_LABEL: Final = "retries"


class RetryMiddleware(TaskiqMiddleware):
    """Runs a failed task again: `max_retries` times, `retry_delay` seconds later, for the exceptions of `retry_on`.

    These are the options of `register_task`. The retry keeps the task's id; the caller's `wait_result` sees the last
    try's result only. A call with invalid arguments is not tried again. A task that was interrupted by its worker's end
    is sent again at once.
    """

    def __init__(self, delayed: DelayedMessages) -> None:
        super().__init__()
        self._delayed = delayed

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:
        """Store the next try, and keep this one's error from being stored as the result."""
        retries = int(message.labels.get(RETRIES_LABEL, 0))
        if isinstance(exception, TaskInterruptedError):
            logger.info(
                "Task %s with id %s is left to the next worker: %s", message.task_name, message.task_id, exception
            )
            await self._send_again(message, result, retries=retries, delay=0.0)
            return
        limit = int(message.labels.get("max_retries", 0))
        if retries >= limit or not self._is_worth_another_try(message, exception):
            return
        delay = float(message.labels.get("retry_delay", 0))
        logger.warning(
            "Task %s with id %s failed (%s: %s); retry %d of %d in %g seconds",
            message.task_name,
            message.task_id,
            type(exception).__name__,
            exception,
            retries + 1,
            limit,
            delay,
        )
        await self._send_again(message, result, retries=retries + 1, delay=delay)

    async def _send_again(
        self, message: TaskiqMessage, result: TaskiqResult[object], *, retries: int, delay: float
    ) -> None:
        await self._delayed.add(self.broker.formatter.dumps(_next_try(message, retries)), delay)
        result.error = NoResultError()

    def _is_worth_another_try(self, message: TaskiqMessage, exception: BaseException) -> bool:
        if isinstance(exception, InvalidTaskArgumentsError | NoResultError):
            return False
        # Classes do not travel: taskiq keeps this label with the registered task only.
        retry_on = cast("tuple[type[Exception], ...]", _registered_label(self.broker, message, "types_of_exceptions"))
        return isinstance(exception, retry_on or ())


def _registered_label(broker: AsyncBroker, message: TaskiqMessage, label: str) -> object:
    task = broker.find_task(message.task_name)
    return task.labels.get(label) if task is not None else None


def _next_try(message: TaskiqMessage, retries: int) -> TaskiqMessage:
    prepared = {name: prepare_label(value) for name, value in (message.labels | {RETRIES_LABEL: retries}).items()}
    return message.model_copy(
        update={
            "labels": {name: text for name, (text, _) in prepared.items()},
            "labels_types": {name: label_type for name, (_, label_type) in prepared.items()},
        }
    )
