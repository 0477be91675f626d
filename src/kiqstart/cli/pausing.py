"""`kiqstart pause` and `kiqstart resume`: let the work of a queue, a task, or some of its calls wait."""

from collections.abc import Mapping, Sequence

from taskiq import AsyncBroker

from kiqstart.broker.acts import Act, ActKind, Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.pauses import Pausable, Pause
from kiqstart.broker.stats import count_tasks
from kiqstart.cli.application import on_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.cli.tasks.call_options import call_options
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.tasks.argument_texts import text_of_argument
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError
from kiqstart.tasks.queue_names import queue_name_problem


class NoPausableError(OperatorError):
    """No queue or task can have this name."""


@on_broker
async def run_pause(
    broker: StreamBroker, kind: Pausable, names: Sequence[str], *, where: Sequence[str], reason: str | None
) -> int:
    """Pause queues, tasks, or calls of tasks; the exit code is 1 if one cannot be."""
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


async def _known(broker: StreamBroker, kind: Pausable) -> set[str]:
    if kind is Pausable.TASK:
        return set(broker.get_all_tasks())
    stats = await count_tasks(broker, [*broker.queues, *queues_of_tasks(broker)])
    return {one.queue for one in stats.queues}


def _calls(broker: StreamBroker, kind: Pausable, name: str, where: Sequence[str]) -> Mapping[str, str]:
    if where and kind is Pausable.QUEUE:
        raise NoPausableError("--where is for tasks: a queue is paused as a whole")
    problem = queue_name_problem(name) if kind is Pausable.QUEUE else None if name else "a task's name is not empty"
    if problem is not None:
        raise NoPausableError(f"{name[:200]!r}: {problem}")
    return parse_conditions(broker, name, where)


class NoConditionError(OperatorError):
    """No call of the task can be meant."""


def parse_conditions(broker: AsyncBroker, task_name: str, words: Sequence[str]) -> Mapping[str, str]:
    """The arguments, each with its value as calls are compared; of a task that is not known, as they are written.

    Raises:
        NoConditionError: a word is no condition, or the task has no such argument.
    """
    where: dict[str, str] = {}
    for word in words:
        name, is_condition, value = word.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not (is_condition and name):
            raise NoConditionError(f"--where {word[:200]!r}: write an argument and its value, such as customer=7")
        if name in where:
            raise NoConditionError(f"--where names {name!r} twice")
        where[name] = _text(broker, task_name, name, value)
    return where


def _text(broker: AsyncBroker, task_name: str, name: str, value: str) -> str:
    task = broker.find_task(task_name)
    if task is None:
        return value
    function = task.original_func
    try:
        options = {one.parameter.name: one for one in call_options(task_arguments(function))}
        is_single = name in options and options[name].parameter.kind not in {
            options[name].parameter.VAR_POSITIONAL,
            options[name].parameter.VAR_KEYWORD,
        }
        return text_of_argument(function, task_name, name, options[name].value(value) if is_single else value)
    except (InvalidTaskArgumentsError, UnsupportedTaskError) as error:
        raise NoConditionError(f"{task_name}: --where {name}: {error}") from None
