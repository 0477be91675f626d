"""What may be wrong with an application while it runs; each raises the line that says so."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import QueueView, WorkerView, read_queues, read_workers
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.lost_workers import LostWorker, read_lost_workers
from kiqstart.broker.run_stats import PROBLEMS
from kiqstart.broker.task_stats import TaskStats, read_recent_task_stats
from kiqstart.errors import OperatorError
from kiqstart.operations.fleet import STUCK, said_of_stuck, state_of
from kiqstart.operations.numbers import counted
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.operations.schedulers import missing_scheduler
from kiqstart.scheduler.overview import overview
from kiqstart.scheduler.source import DurableScheduleSource

_MOST_SHOWN: Final = 5
_MOST_SCHEDULES: Final = 1000
# A scheduler looks several times a second.
_STUCK: Final = timedelta(minutes=1)
LOST_OF_LATE: Final = 3600
"""For how many seconds it is a fault that a worker has died."""


class UnservedQueueError(OperatorError):
    """Tasks wait in a queue that no worker takes."""


class StuckWorkerError(OperatorError):
    """A worker does nothing or has died, or none is there."""


class PausedError(OperatorError):
    """Something is paused."""


class FailingTasksError(OperatorError):
    """Runs of tasks failed."""


class StuckScheduleError(OperatorError):
    """A schedule is long overdue, or cannot be read."""


class NoSchedulerError(OperatorError):
    """No scheduler sends what is due."""


async def check_queues(broker: StreamBroker) -> str:
    """How many tasks wait and run.

    Raises:
        UnservedQueueError: some wait that no worker takes.
        RedisError: Redis is away.
    """
    return judge_queues(await read_queues(broker, [*broker.queues, *queues_of_tasks(broker)]))


def judge_queues(queues: Sequence[QueueView]) -> str:
    """How many tasks wait and run.

    Raises:
        UnservedQueueError: some wait that no worker takes.
    """
    if unserved := [one for one in queues if one.is_unserved]:
        raise UnservedQueueError(
            f"tasks wait that no worker takes: {', '.join(f'{one.waiting} in {one.name!r}' for one in unserved)}; "
            "start a worker whose TASKS_QUEUES has it"
        )
    return f"{sum(one.waiting for one in queues)} tasks wait, {sum(one.running for one in queues)} are with workers"


async def check_workers(broker: StreamBroker) -> str:
    """How many workers live.

    Raises:
        StuckWorkerError: none does, or one's event loop is blocked, one is silent, or one has died in the last hour.
        RedisError: Redis is away.
    """
    return judge_workers(await read_workers(broker), await read_lost_workers(broker, seconds=LOST_OF_LATE))


def judge_workers(workers: Sequence[WorkerView], lost: Sequence[LostWorker] = ()) -> str:
    """How many live.

    Args:
        workers: that are known, those that are silent included.
        lost: those that died in the last hour, the last one first.

    Raises:
        StuckWorkerError: none does, or one's event loop is blocked, one is silent, or one has died.
    """
    problems = _said_of_stuck(workers)
    if not workers:
        problems.append("no worker lives: start `kiqstart worker`")
    if lost:
        problems.append(_said_of_lost(lost))
    if problems:
        raise StuckWorkerError("; ".join(problems))
    return f"{len(workers)} live"


def _said_of_stuck(workers: Sequence[WorkerView]) -> list[str]:
    stuck = [one for one in workers if state_of(one) in STUCK]
    more = [f"and {len(stuck) - _MOST_SHOWN} more"] if len(stuck) > _MOST_SHOWN else []
    return [*map(said_of_stuck, stuck[:_MOST_SHOWN]), *more]


def _said_of_lost(lost: Sequence[LostWorker]) -> str:
    last = lost[0]
    seconds = max((datetime.now(UTC) - last.lost).total_seconds(), 0.0)
    place = f" on {last.host}, process {last.pid}," if last.host else ""
    others = f" and {counted(len(lost) - 1, 'other')}" if len(lost) > 1 else ""
    return f"{last.name}{place} died {shown_seconds(seconds)} ago{others}; `kiqstart workers --lost` says what it ran"


async def check_paused(broker: StreamBroker) -> str:
    """Whether work is held back.

    Raises:
        PausedError: a queue or a task is paused.
        RedisError: Redis is away.
    """
    if pauses := await pauses_of(broker).all():
        raise PausedError("; ".join(map(said, pauses)))
    return "no queue and no task"


async def check_runs(broker: StreamBroker) -> str:
    """How many runs there were of late.

    Raises:
        FailingTasksError: some failed.
        RedisError: Redis is away.
    """
    return judge_runs(await read_recent_task_stats(broker.connection.redis, broker.keys))


def judge_runs(stats: Sequence[TaskStats]) -> str:
    """How many runs there were of late.

    Raises:
        FailingTasksError: some failed.
    """
    if failing := [one for one in stats if one.problems]:
        failing.sort(key=lambda one: -one.problems)
        shown = "; ".join(map(_shown_problems, failing[:_MOST_SHOWN]))
        worst = max(PROBLEMS, key=lambda outcome: sum(one.ended.get(outcome, 0) for one in failing))
        raise FailingTasksError(
            f"in the last one to two hours {shown}; `kiqstart runs list --outcome {worst.value}` says why"
        )
    return f"{sum(one.started for one in stats)} in the last one to two hours, of which none failed"


async def check_scheduler(broker: StreamBroker) -> str:
    """When a scheduler last polled.

    Raises:
        NoSchedulerError: none does.
        RedisError: Redis is away.
    """
    heartbeats = await DurableScheduleSource(broker).store.heartbeats()
    if (problem := missing_scheduler(heartbeats)) is not None:
        raise NoSchedulerError(problem)
    return f"polled {shown_seconds(heartbeats.seconds_since_any or 0.0)} ago"


async def check_schedules(broker: StreamBroker) -> str:
    """How many schedules are in effect.

    Raises:
        StuckScheduleError: one is overdue for more than a minute, or was set aside since it cannot be read.
        RedisError: Redis is away.
    """
    found = await overview(DurableScheduleSource(broker).store, broker, limit=_MOST_SCHEDULES)
    late = [one for one in (*found.table, *found.added) if one.due is not None and not one.is_paused]
    stuck = {one.definition.name: found.now - one.due for one in late if one.due and found.now - one.due > _STUCK}
    problems = [
        f"{name!r} is overdue for {shown_seconds(since.total_seconds())}"
        for name, since in sorted(stuck.items(), key=lambda pair: -pair[1])[:_MOST_SHOWN]
    ]
    if len(stuck) > _MOST_SHOWN:
        problems.append(f"and {len(stuck) - _MOST_SHOWN} more are")
    problems += [f"{name!r} cannot be read and is never due" for name in found.unreadable[:_MOST_SHOWN]]
    if problems:
        raise StuckScheduleError("; ".join(problems))
    return f"{found.active} are due in time" + (f", {found.paused} are paused" if found.paused else "")


def _shown_problems(one: TaskStats) -> str:
    how = ", ".join(f"{one.ended[outcome]} {outcome.value}" for outcome in PROBLEMS if outcome in one.ended)
    return f"{one.task or 'tasks that no worker knows'}: {how} of {sum(one.ended.values())} runs"
