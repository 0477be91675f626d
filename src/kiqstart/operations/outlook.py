"""What a call would wait for if it were sent now, and how many calls wait that a pause is about."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from taskiq import AsyncTaskiqDecoratedTask, TaskiqMessage

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import queue_of_task
from kiqstart.broker.outstanding import read_outstanding
from kiqstart.broker.pauses import Pausable, Pause
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.stats import count_tasks
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.operations.numbers import counted
from kiqstart.operations.outstanding import said_of_rest
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.tasks.argument_texts import texts_of_call

_MOST_LOOKED_AT: Final = 1000


async def said_of_hindrances(
    broker: StreamBroker,
    task: AsyncTaskiqDecoratedTask[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> list[str]:
    """What lets a call wait once it is sent: that no worker takes its queue, and what is paused of it.

    Raises:
        RedisError: Redis is away.
    """
    queue = queue_of_task(task)
    found = [] if await broker.is_served(queue) else [f"No worker takes the queue {queue!r}: it waits until one does."]
    for pause in await pauses_of(broker).all():
        is_its_queue = pause.kind is Pausable.QUEUE and pause.name == queue
        is_its_own = pause.kind is Pausable.TASK and pause.name == task.task_name
        if is_its_queue or (is_its_own and _is_meant(task.original_func, pause, args, kwargs)):
            found.append(f"It waits until it is resumed: {said(pause)}.")
    return found


async def said_of_waiting(broker: StreamBroker, kind: Pausable, name: str, where: Mapping[str, str]) -> str:
    """How many wait in a queue, of a task, or of its calls with these arguments' texts: `12 tasks wait`.

    Raises:
        RedisError: Redis is away.
    """
    if kind is Pausable.QUEUE:
        counts = (await count_tasks(broker, [name])).queues
        return _said(sum(one.waiting for one in counts if one.queue == name))
    which = RunFilter(task=name)
    found = await read_outstanding(broker, Place.WAITING, which, limit=_MOST_LOOKED_AT, most=_MOST_LOOKED_AT)
    rest = said_of_rest(Place.WAITING, found)
    return _said(len(_meant(broker, name, where, found.tasks))) + (f"; {rest}" if rest else "")


def _said(number: int) -> str:
    return f"{counted(number, 'task')} of it {'waits' if number == 1 else 'wait'}"


def _meant(
    broker: StreamBroker, name: str, where: Mapping[str, str], tasks: Sequence[Whereabouts]
) -> Sequence[Whereabouts]:
    task = broker.find_task(name)
    if not where or task is None:
        # Which calls of a task are meant, only who knows the task can tell.
        return [] if where else tasks
    pause = Pause(kind=Pausable.TASK, name=name, where=where)
    return [one for one in tasks if _is_meant(task.original_func, pause, one.values.args, one.values.kwargs)]


def _is_meant(
    function: Callable[..., object], pause: Pause, args: Sequence[object], kwargs: Mapping[str, object]
) -> bool:
    if not pause.where:
        return True
    message = TaskiqMessage(task_id="", task_name=pause.name, labels={}, args=list(args), kwargs=dict(kwargs))
    return texts_of_call(function, message, tuple(pause.where)) == tuple(pause.where.values())
