"""Waiting for what was sent, and its result in a line."""

import orjson
from taskiq import TaskiqResult, TaskiqResultTimeoutError

from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError
from kiqstart.tasks.sent_task import SentTask


class NotDoneError(OperatorError):
    """A task that was waited for has failed, or did not end in time."""


async def line_of_result(broker: StreamBroker, task_id: str, timeout: float | None) -> str:  # noqa: ASYNC109  # taskiq's
    """Wait for a task; gives its id, how long it took and what it gave.

    Raises:
        NotDoneError: it has failed, or has not ended in time.
    """
    result = await result_of(broker, task_id, timeout)
    return f"{task_id}  {result.execution_time:.3f} s  {orjson.dumps(result.return_value).decode()}"


async def result_of(broker: StreamBroker, task_id: str, timeout: float | None) -> TaskiqResult[object]:  # noqa: ASYNC109  # taskiq's
    """Wait for a task that is to succeed; gives its result.

    Raises:
        NotDoneError: it has failed, or has not ended in time.
    """
    task: SentTask[object] = SentTask(task_id, broker.result_backend, None)
    try:
        result = await task.wait_result(timeout=timeout or -1.0)
    except TaskiqResultTimeoutError:
        raise NotDoneError(f"{task_id} has not ended within {timeout:g} s") from None
    if result.is_err:
        error = result.error
        raise NotDoneError(f"{task_id} failed after {result.execution_time:.3f} s: {type(error).__name__}: {error}")
    return result
