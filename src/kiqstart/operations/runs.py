"""What became of a task, and where it is now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.runs import read_runs
from kiqstart.broker.task_search import SECONDS_TO_FIND, TaskNotFoundInTimeError, find_task
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
        now: where it is; None if it has ended, or if that is not known.
        problem: why it is not known; '' where it is.
    """

    runs: Sequence[Run]
    now: Whereabouts | None
    problem: str = ""


async def read_history(
    broker: StreamBroker, task_id: str, *, seconds: float = SECONDS_TO_FIND, index: RunIndex | None = None
) -> TaskHistory:
    """What became of a task, and where it is now.

    Args:
        broker: in whose queues it may be.
        task_id: its id.
        seconds: after which queues are looked through no further.
        index: is for who asks often.

    Raises:
        UnknownRunError: nothing is known of it.
        RedisError: Redis is away.
    """
    now, problem = None, ""
    # First where it is: should it end meanwhile, it is among the ended ones.
    try:
        now = await find_task(broker, task_id, seconds=seconds)
    except TaskNotFoundInTimeError as error:
        problem = str(error)
    which = RunFilter(task_id=task_id)
    redis, most, secrets = broker.connection.redis, _MOST_RUNS_OF_A_TASK, broker.secrets
    runs = await read_runs(redis, broker.keys, which, limit=most, secrets=secrets, index=index)
    if not runs and now is None:
        where = problem or "it waits nowhere"
        why = "" if broker.options.runs_kept > 0 else f"; of runs that have ended, {NONE_KEPT}"
        raise UnknownRunError(f"nothing is known of a task {task_id!r}: {where}, and no run of it is kept{why}")
    return TaskHistory(runs=runs, now=now, problem=problem)
