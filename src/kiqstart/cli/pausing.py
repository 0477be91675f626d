"""`kiqstart pause` and `kiqstart resume`: let the work of a queue, a task, or some of its calls wait."""

from collections.abc import Mapping, Sequence

from kiqstart.broker.acts import Act, ActKind, Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable, Pause
from kiqstart.cli.application import on_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.call_conditions import parse_conditions
from kiqstart.operations.pausing import known_names, pauses_of, said
from kiqstart.tasks.queue_names import queue_name_problem


class NoPausableError(OperatorError):
    """No queue or task can have this name."""


@on_broker
async def run_pause(
    broker: StreamBroker, kind: Pausable, names: Sequence[str], *, where: Sequence[str], reason: str | None
) -> int:
    """Pause queues, tasks, or calls of tasks; the exit code is 1 if one cannot be."""
    pauses, known = pauses_of(broker), await known_names(broker, kind)

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
        await record(broker, [Act(kind=ActKind(f"pause-{kind}"), target=name, detail=" ".join(where))], reason)
        return done

    return await one_by_one(names, pause, "paused")


@on_broker
async def run_resume(
    broker: StreamBroker, kind: Pausable, names: Sequence[str], *, where: Sequence[str], reason: str | None
) -> int:
    """Resume queues, tasks, or calls of tasks; the exit code is 1 if one is not paused."""
    pauses = pauses_of(broker)

    async def resume(name: str) -> str:
        await pauses.resume(kind, name, where=_calls(broker, kind, name, where))
        await record(broker, [Act(kind=ActKind(f"resume-{kind}"), target=name, detail=" ".join(where))], reason)
        return " ".join([name, *where])

    return await one_by_one(names, resume, "resumed")


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


def _calls(broker: StreamBroker, kind: Pausable, name: str, where: Sequence[str]) -> Mapping[str, str]:
    if where and kind is Pausable.QUEUE:
        raise NoPausableError("--where is for tasks: a queue is paused as a whole")
    problem = queue_name_problem(name) if kind is Pausable.QUEUE else None if name else "a task's name is not empty"
    if problem is not None:
        raise NoPausableError(f"{name[:200]!r}: {problem}")
    return parse_conditions(broker, name, where)
