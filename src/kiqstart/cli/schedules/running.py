"""`kiqstart schedules run`: send now what is sent by itself at its time."""

from collections.abc import Sequence

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.results import line_of_result
from kiqstart.operations.schedules import send_now
from kiqstart.scheduler.source import DurableScheduleSource


@on_broker
async def run_run(
    broker: StreamBroker,
    names: Sequence[str],
    *,
    wait: bool,
    timeout: float | None,  # noqa: ASYNC109  # taskiq's
    reason: str | None,
) -> int:
    """Send the tasks; the exit code is 1 if one was not sent, or was waited for and failed."""
    sent: list[str] = []
    schedules = DurableScheduleSource(broker).schedules

    async def send(name: str) -> str:
        task_id = await send_now(schedules, name)
        sent.append(task_id)
        await record(broker, [Act(kind=ActKind.RUN_SCHEDULE, target=name, detail=task_id)], reason)
        return task_id

    async def result(task_id: str) -> str:
        return await line_of_result(broker, task_id, timeout)

    exit_code = await one_by_one(names, send, "sent")
    if wait and sent:
        exit_code = max(exit_code, await one_by_one(sent, result, "done"))
    return exit_code
