"""How far a task is, in words."""

from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.running import RunningTask, read_running
from kiqstart.tasks.progress import Progress

_A_THOUSAND: Final = 1000


def said_of_progress(progress: Progress) -> str:
    """How far it is: `40 %, 400 of 1,000 rows`."""
    amount = _shown(progress.done)
    if progress.total is not None:
        amount += f" of {_shown(progress.total)}"
    if progress.fraction is not None:
        # What is not all is not 100 %.
        amount = f"{int(progress.fraction * 100)} %, {amount}"
    return f"{amount} {progress.text}".rstrip()


async def running_task(broker: StreamBroker, task_id: str) -> RunningTask | None:
    """What its worker has said of a task that runs; None where none has said anything."""
    said = await read_running(broker.connection.redis, broker.keys, broker.secrets)
    return next((one for tasks in said.values() for one in tasks if one.task_id == task_id), None)


def _shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= _A_THOUSAND else f"{number:,.1f}"
