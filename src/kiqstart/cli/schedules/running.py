"""`kiqstart schedules run`: send now what is sent by itself at its time."""

import asyncio
from collections.abc import Sequence

import orjson
from taskiq import TaskiqResultTimeoutError
from taskiq.exceptions import SendTaskError

from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import stream_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.errors import OperatorError
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.sent_task import SentTask


class NotSentError(OperatorError):
    """A schedule's task was not sent."""


class NotDoneError(OperatorError):
    """A task that was waited for has failed, or did not end in time."""


def run_run(names: Sequence[str], *, wait: bool, timeout: float | None) -> int:
    """Send the tasks; the exit code is 1 if one was not sent, or was waited for and failed."""
    return asyncio.run(_run(names, wait=wait, timeout=timeout))


async def _run(names: Sequence[str], *, wait: bool, timeout: float | None) -> int:  # noqa: ASYNC109  # taskiq's
    sent: list[str] = []
    async with stream_broker() as broker:
        schedules = DurableScheduleSource(broker).schedules

        async def send(name: str) -> str:
            try:
                task_id = await schedules.run(name)
            except (SendTaskError, InvalidTaskArgumentsError) as error:
                raise NotSentError(f"schedule {name!r}: {error}") from None
            sent.append(task_id)
            return task_id

        async def result(task_id: str) -> str:
            return await _result(broker, task_id, timeout)

        exit_code = await one_by_one(names, send, "sent")
        if wait and sent:
            exit_code = max(exit_code, await one_by_one(sent, result, "done"))
        return exit_code


async def _result(broker: StreamBroker, task_id: str, timeout: float | None) -> str:  # noqa: ASYNC109  # taskiq's
    task: SentTask[object] = SentTask(task_id, broker.result_backend, None)
    try:
        result = await task.wait_result(timeout=timeout or -1.0)
    except TaskiqResultTimeoutError:
        raise NotDoneError(f"{task_id} has not ended within {timeout:g} s") from None
    if result.is_err:
        error = result.error
        raise NotDoneError(f"{task_id} failed after {result.execution_time:.3f} s: {type(error).__name__}: {error}")
    return f"{task_id}  {result.execution_time:.3f} s  {orjson.dumps(result.return_value).decode()}"
