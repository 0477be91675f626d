"""`kiqstart schedules run`: send now what is sent by itself at its time."""

import asyncio
from collections.abc import Sequence

from taskiq.exceptions import SendTaskError

from kiqstart.broker.acts import Act, ActKind
from kiqstart.cli.application import stream_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.results import line_of_result
from kiqstart.errors import OperatorError
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.errors import InvalidTaskArgumentsError


class NotSentError(OperatorError):
    """A schedule's task was not sent."""


def run_run(names: Sequence[str], *, wait: bool, timeout: float | None, reason: str | None) -> int:
    """Send the tasks; the exit code is 1 if one was not sent, or was waited for and failed."""
    return asyncio.run(_run(names, wait=wait, timeout=timeout, reason=reason))


async def _run(
    names: Sequence[str],
    *,
    wait: bool,
    timeout: float | None,  # noqa: ASYNC109  # taskiq's
    reason: str | None,
) -> int:
    sent: list[str] = []
    async with stream_broker() as broker:
        schedules = DurableScheduleSource(broker).schedules

        async def send(name: str) -> str:
            try:
                task_id = await schedules.run(name)
            except (SendTaskError, InvalidTaskArgumentsError) as error:
                raise NotSentError(f"schedule {name!r}: {error}") from None
            sent.append(task_id)
            await record(broker, [Act(kind=ActKind.RUN_SCHEDULE, target=name, detail=task_id)], reason)
            return task_id

        async def result(task_id: str) -> str:
            return await line_of_result(broker, task_id, timeout)

        exit_code = await one_by_one(names, send, "sent")
        if wait and sent:
            exit_code = max(exit_code, await one_by_one(sent, result, "done"))
        return exit_code
