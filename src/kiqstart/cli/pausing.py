"""`kiqstart pause` and `kiqstart resume`: let the work of a queue, a task, or some of its calls wait."""

import asyncio
from collections.abc import Mapping, Sequence

from kiqstart.broker.acts import Act, ActKind, Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable, Pause
from kiqstart.broker.stats import count_tasks
from kiqstart.broker.task_queues import queues_of_tasks
from kiqstart.cli.application import stream_broker
from kiqstart.cli.call_conditions import parse_conditions
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.tasks.queue_names import queue_name_problem

_PAUSED = {Pausable.QUEUE: ActKind.PAUSE_QUEUE, Pausable.TASK: ActKind.PAUSE_TASK}
_RESUMED = {Pausable.QUEUE: ActKind.RESUME_QUEUE, Pausable.TASK: ActKind.RESUME_TASK}


class NoPausableError(OperatorError):
    """No queue or task can have this name."""


def run_pause(kind: Pausable, names: Sequence[str], *, where: Sequence[str], reason: str | None) -> int:
    """Pause queues, tasks, or calls of tasks; the exit code is 1 if one cannot be."""
    return asyncio.run(_pause(kind, names, where, reason))


def run_resume(kind: Pausable, names: Sequence[str], *, where: Sequence[str], reason: str | None) -> int:
    """Resume queues, tasks, or calls of tasks; the exit code is 1 if one is not paused."""
    return asyncio.run(_resume(kind, names, where, reason))


def pause_as_json(pause: Pause | None) -> dict[str, str | None] | None:
    """A pause as `--json` has it beside a name."""
    if pause is None:
        return None
    return {
        "since": None if pause.since is None else pause.since.isoformat(),
        "user": pause.by.user,
        "host": pause.by.host,
        "reason": pause.reason,
    }


async def _pause(kind: Pausable, names: Sequence[str], where: Sequence[str], reason: str | None) -> int:
    async with stream_broker() as broker:
        pauses, known = pauses_of(broker), await _known(broker, kind)

        async def pause(name: str) -> str:
            calls = _calls(broker, kind, name, where)
            done = " ".join([name, *where])
            by = Operator.of_this_process()
            if not await pauses.pause(kind, name, by=by, reason=reason or "", where=calls):
                wanted = (kind, name, calls)
                before = next((one for one in await pauses.all() if (one.kind, one.name, one.where) == wanted), None)
                return done if before is None else f"{done}  already: {said(before)}"
            if name not in known:
                echo(shown(f"kiqstart: no {kind} {name!r} is known; should there be one, it is paused"), err=True)
            await record(broker, [Act(kind=_PAUSED[kind], target=name, detail=" ".join(where))], reason)
            return done

        return await one_by_one(names, pause, "paused")


async def _resume(kind: Pausable, names: Sequence[str], where: Sequence[str], reason: str | None) -> int:
    async with stream_broker() as broker:
        pauses = pauses_of(broker)

        async def resume(name: str) -> str:
            await pauses.resume(kind, name, where=_calls(broker, kind, name, where))
            await record(broker, [Act(kind=_RESUMED[kind], target=name, detail=" ".join(where))], reason)
            return " ".join([name, *where])

        return await one_by_one(names, resume, "resumed")


async def _known(broker: StreamBroker, kind: Pausable) -> set[str]:
    if kind is Pausable.TASK:
        return set(broker.get_all_tasks())
    stats = await count_tasks(broker, [*broker.queues, *queues_of_tasks(broker)])
    return {one.queue for one in stats.queues}


def _calls(broker: StreamBroker, kind: Pausable, name: str, where: Sequence[str]) -> Mapping[str, str]:
    if where and kind is Pausable.QUEUE:
        raise NoPausableError("--where is for tasks: a queue is paused as a whole")
    problem = queue_name_problem(name) if kind is Pausable.QUEUE else None
    if problem is not None:
        raise NoPausableError(f"{name[:200]!r}: {problem}")
    return parse_conditions(broker, name, where)
