"""Waiting for what was sent, and its result in a line."""

import asyncio

import orjson
from taskiq import TaskiqResult, TaskiqResultTimeoutError
from taskiq.exceptions import ResultGetError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.cli.task_watch import TaskWatch
from kiqstart.errors import OperatorError
from kiqstart.tasks.sent_task import SentTask


class NotDoneError(OperatorError):
    """A task that was waited for has failed, did not end in time, or will have no result."""


async def line_of_result(
    broker: StreamBroker,
    task_id: str,
    timeout: float | None,  # noqa: ASYNC109  # taskiq's
    *,
    says_progress: bool = False,
) -> str:
    """Wait for a task; gives its id, how long it took and what it gave.

    Raises:
        NotDoneError: it has failed, has not ended in time, or will have no result.
    """
    result = await result_of(broker, task_id, timeout, says_progress=says_progress)
    return f"{task_id}  {result.execution_time:.3f} s  {orjson.dumps(result.return_value).decode()}"


async def result_of(
    broker: StreamBroker,
    task_id: str,
    timeout: float | None,  # noqa: ASYNC109  # taskiq's
    *,
    says_progress: bool,
) -> TaskiqResult[object]:
    """Wait for a task that is to succeed, and say meanwhile on standard error what for; gives its result.

    Args:
        broker: in whose queues it is.
        task_id: its id.
        timeout: seconds; None: as long as there may be a result.
        says_progress: whether to say how far it is too.

    Raises:
        NotDoneError: it has failed, has not ended in time, or will have no result.
    """
    watch = TaskWatch(broker, task_id, says_progress=says_progress)
    try:
        result = await _wait(broker, task_id, timeout, watch)
    except TaskiqResultTimeoutError:
        raise NotDoneError(f"{task_id} has not ended within {timeout:g} s: {await watch.described()}") from None
    except ResultGetError as error:
        raise NotDoneError(f"{task_id}: its result cannot be read: {reason(error.__cause__ or error)}") from None
    if result.is_err:
        failure = result.error
        raise NotDoneError(f"{task_id} failed after {result.execution_time:.3f} s: {type(failure).__name__}: {failure}")
    return result


async def _wait(
    broker: StreamBroker,
    task_id: str,
    timeout: float | None,  # noqa: ASYNC109  # taskiq's
    watch: TaskWatch,
) -> TaskiqResult[object]:
    task: SentTask[object] = SentTask(task_id, broker.result_backend, None)
    result = asyncio.create_task(task.wait_result(timeout=timeout or -1.0))
    gone = asyncio.create_task(watch.until_gone())
    try:
        await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise NotDoneError(f"{task_id}: {gone.result()}")
        return result.result()
    finally:
        result.cancel()
        gone.cancel()
        await asyncio.wait((result, gone))
