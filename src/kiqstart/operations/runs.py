"""What became of a task, and where it is now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from redis.exceptions import NoPermissionError

from kiqstart.broker.acts import MOST_KEPT, Acts, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.runs import read_runs
from kiqstart.broker.task_search import SECONDS_TO_FIND, TaskNotFoundInTimeError, find_task
from kiqstart.broker.whereabouts import Whereabouts
from kiqstart.errors import OperatorError

_MOST_RUNS_OF_A_TASK: Final = 1000
# Of a task of which there is more to be seen.
_ACTS_LOOKED_AT: Final = 500
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
        acts: what operators have done with it, newest first, where they were asked for.
    """

    runs: Sequence[Run]
    now: Whereabouts | None
    problem: str = ""
    acts: Sequence[RecordedAct] = ()


async def read_history_with_acts(broker: StreamBroker, task_id: str, *, index: RunIndex | None = None) -> TaskHistory:
    """The same as `read_history`, and who has sent, cancelled or retried it.

    What was cancelled before a worker had it has no run: of that the acts alone say what became of it.

    Raises:
        UnknownRunError: nothing is known of it.
        RedisError: Redis is away.
    """
    try:
        history = await read_history(broker, task_id, index=index)
    except UnknownRunError:
        if acts := await _acts_on(broker, task_id, MOST_KEPT):
            return TaskHistory(runs=(), now=None, acts=acts)
        raise
    return replace(history, acts=await _acts_on(broker, task_id, _ACTS_LOOKED_AT))


async def _acts_on(broker: StreamBroker, task_id: str, most: int) -> list[RecordedAct]:
    try:
        found = await Acts(broker.connection.redis, broker.keys).newest(most)
    except NoPermissionError:
        # Who may see runs could not always see acts.
        return []
    return [one for one in found if task_id in (one.target, *one.detail.split())]


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
