"""A call of a task with the arguments of a command line: checked, and sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.recording import record
from kiqstart.cli.tasks.call_options import HelpAsked, RunOptions, parse_call
from kiqstart.cli.terminal import echo
from kiqstart.operations.schedule_wording import shown_arguments
from kiqstart.operations.sending import NotRunError, send_task
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError


@dataclass(frozen=True, kw_only=True)
class TaskCall:
    """A call that its task takes.

    Args:
        own: what the command itself was given beside the task's arguments.
    """

    task: AsyncTaskiqDecoratedTask[..., object]
    args: Sequence[object]
    kwargs: Mapping[str, object]
    own: RunOptions

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.task_name

    @property
    def described(self) -> str:
        """As it is written: `session.cleanup(days_old=7)`."""
        return f"{self.name}({', '.join(shown_arguments(self.args, self.kwargs))})"


def prepare(app: App, name: str, words: Sequence[str], own: RunOptions) -> TaskCall | None:
    """Check a call; None where only help was asked for, which is printed.

    Raises:
        CallError: the words are none that the task takes.
        NotRunError: there is no such task, or it does not take these arguments.
    """
    task = _task_of(app, name)
    try:
        arguments = task_arguments(task.original_func)
        args, kwargs, own = parse_call(name, arguments, words, own)
        arguments.validate(name, args, kwargs)
    except HelpAsked as asked:
        echo(str(asked).rstrip("\n"))
        return None
    except (InvalidTaskArgumentsError, UnsupportedTaskError) as error:
        raise NotRunError(str(error)) from None
    return TaskCall(task=task, args=args, kwargs=kwargs, own=own)


async def send(broker: StreamBroker, call: TaskCall) -> str:
    """Send it, and keep that in the log of acts; gives the task's id.

    Raises:
        NotRunError: it was not sent.
        RedisError: Redis is away.
    """
    task_id, act = await send_task(broker, call.name, call.args, call.kwargs)
    await record(broker, [act], call.own.reason)
    return task_id


def _task_of(app: App, name: str) -> AsyncTaskiqDecoratedTask[..., object]:
    task = app.broker.find_task(name)
    if task is None:
        near = get_close_matches(name, app.broker.get_all_tasks(), n=1)
        raise NotRunError(
            f"there is no task {name[:200]!r}" + (f": did you mean {near[0]!r}?" if near else ": see `kiqstart tasks`")
        )
    return task
