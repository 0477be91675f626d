"""`kiqstart retention run`: let a worker run a policy now, and say what it has done."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from kiqstart.app import App
from kiqstart.cleanups.task import RETENTION_RUN
from kiqstart.cli.application import stream_broker, unconnected_application
from kiqstart.cli.results import result_of
from kiqstart.cli.tasks.call_options import RunOptions
from kiqstart.cli.tasks.calling import TaskCall, prepare, send
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.retention_policies import needed_task_of_policy
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.retention.errors import UnknownPolicyError

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def run_policy(name: str, words: Sequence[str], *, timeout: float | None, reason: str | None, as_json: bool) -> int:
    """Send the task that runs a policy, wait for it, and print what it says.

    Raises:
        OperatorError: there is no such policy, no task runs it, it was not sent, has failed, or did not end in time.
    """
    app = unconnected_application()
    task = _task_of(app, name)
    if task == RETENTION_RUN:
        words = ["--policy", name, *words]
    # As with the other commands, it may stand at the end.
    as_json, words = as_json or "--json" in words, [word for word in words if word != "--json"]
    call = prepare(app, task, words, RunOptions(wait=True, timeout=timeout, reason=reason))
    if call is None:
        return 0
    task_id, seconds, result = asyncio.run(_run(call))
    if as_json:
        echo_json({"policy": name, "task": task, "task_id": task_id, "seconds": seconds, "result": result})
    else:
        echo(shown(f"{name}: {said_of_result(result)}, after {shown_seconds(seconds)} ({task_id})"))
    return 0


def said_of_result(result: object) -> str:
    """What a clean-up has done, in words: `1,200 rows in 4 batches, until the end`."""
    fields = _fields(result)
    if found := _fields(fields.get("report")):
        left = [f"{found[what]:,} {what}" for what in ("failed", "skipped") if found.get(what)]
        held = found.get("left_alone")
        left += [f"{held:,} left alone since they cannot go"] if held else []
        words = f"{found.get('deleted', 0):,} rows in {found.get('batches', 0):,} batches"
        return ", ".join([words, *left, f"stopped at: {found.get('stopped')}"])
    if found := _fields(fields.get("preview")):
        about = "about " if found.get("is_estimate") else ""
        return f"would take {about}{found.get('rows', 0):,} of about {found.get('table_rows', 0):,} rows"
    return f"done: {result}"


def _fields(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else _NOTHING


def _task_of(app: App, name: str) -> str:
    try:
        app.needs_retention().named(name)
    except UnknownPolicyError as error:
        raise OperatorError(str(error)) from None
    return needed_task_of_policy(app, name)


async def _run(call: TaskCall) -> tuple[str, float, object]:
    async with stream_broker() as broker:
        task_id = await send(broker, call)
        result = await result_of(broker, task_id, call.own.timeout, says_progress=True)
        return task_id, result.execution_time, result.return_value
