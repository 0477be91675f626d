"""`kiqstart tasks run`: send a task with the arguments of a command line."""

import asyncio
from collections.abc import Sequence

from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker, unconnected_application
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.results import line_of_result
from kiqstart.cli.tasks.call_options import RunOptions
from kiqstart.cli.tasks.calling import TaskCall, prepare, send
from kiqstart.cli.terminal import echo, shown, shown_lines
from kiqstart.operations.dead_letters import indented
from kiqstart.operations.sending import NotRunError
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.kicker import Kicker


def run_run(name: str, words: Sequence[str], own: RunOptions) -> int:
    """Send a task; the exit code is 1 if it was waited for and failed.

    Raises:
        CallError: the words are none that the task takes.
        NotRunError: there is no such task, or it was not sent.
    """
    call = prepare(unconnected_application(), name, words, own)
    if call is None:
        return 0
    if not call.own.dry_run:
        return _send(call)
    message = asyncio.run(_message(call))
    echo(f"would send {call.described}; nothing was sent")
    echo(shown_lines(indented(message)))
    return 0


async def _message(call: TaskCall) -> bytes:
    task = call.task
    kicker: Kicker[..., object] = Kicker(task.task_name, task.broker, dict(task.labels))
    try:
        return (await kicker.message_of(*call.args, **call.kwargs)).message
    except InvalidTaskArgumentsError as error:
        raise NotRunError(str(error)) from None
    except ValueError as error:
        raise NotRunError(f"{call.name}: {error}") from None


@on_broker
async def _send(broker: StreamBroker, call: TaskCall) -> int:
    own, task_id = call.own, await send(broker, call)
    if not (own.wait or own.progress):
        echo(shown(task_id))
        return 0

    async def result(sent: str) -> str:
        return await line_of_result(broker, sent, own.timeout, says_progress=own.progress)

    return await one_by_one([task_id], result, "done")
