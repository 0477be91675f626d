"""What became of a task, and where it is now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.runs import read_runs
from kiqstart.broker.task_search import SECONDS_TO_LOOK, search_task
from kiqstart.broker.whereabouts import Whereabouts
from kiqstart.errors import OperatorError

_MOST_RUNS_OF_A_TASK: Final = 1000
NONE_KEPT: Final = "none are kept: TASKS_RUNS_KEPT is 0"


class UnknownRunError(OperatorError):
    """Nothing is known of a task."""


@dataclass(frozen=True, kw_only=True)
class TaskHistory:
    """What is known of a task.

    Args:
        runs: those of its runs that are kept, the last one first.
        now: where it is; None if it has ended.
        is_complete: whether it was found, or all queues were looked through.
    """

    runs: Sequence[Run]
    now: Whereabouts | None
    is_complete: bool = True

    @property
    def rest(self) -> str:
        """What was not looked at, in words; '' where all was."""
        return "" if self.is_complete else "it may wait yet: not all that waits could be looked through in time"


async def read_history(
    broker: StreamBroker, task_id: str, *, index: RunIndex | None = None, seconds: Sequence[float] = (SECONDS_TO_LOOK,)
) -> TaskHistory:
    """What became of a task, and where it is now.

    Args:
        broker: the broker.
        task_id: the task's id.
        index: for who asks often.
        seconds: for how long to look through the queues; if nothing of it is known after that, for how long then.

    Raises:
        UnknownRunError: nothing is known of it.
        RedisError: Redis is away.
    """
    # First where it is: should it end meanwhile, it is among the ended ones.
    found = await search_task(broker, task_id, seconds=seconds[0])
    which = RunFilter(task_id=task_id)
    redis, most, secrets = broker.connection.redis, _MOST_RUNS_OF_A_TASK, broker.secrets
    runs = await read_runs(redis, broker.keys, which, limit=most, secrets=secrets, index=index)
    for longer in seconds[1:]:
        if not (runs or found.is_complete):
            found = await search_task(broker, task_id, seconds=longer)
    history = TaskHistory(runs=runs, now=found.now, is_complete=found.is_complete)
    if not runs and found.now is None:
        why = "" if broker.options.runs_kept > 0 else f"; of runs that have ended, {NONE_KEPT}"
        waits = history.rest or "it waits nowhere"
        raise UnknownRunError(f"nothing is known of a task {task_id!r}: {waits}, and no run of it is kept{why}")
    return history
