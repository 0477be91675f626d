"""What can be wrong with tasks, before and while they run."""

import inspect
from contextlib import suppress
from pathlib import Path
from typing import cast

from taskiq import NoResultError

from kiqstart.errors import OperatorError
from kiqstart.tasks.call_chain import innermost


class WiringError(OperatorError):
    """Tasks, registry, controllers and schedules do not fit together; no process starts like that."""


class UnsupportedTaskError(TypeError):
    """What was to be a task cannot be one, or takes or returns what cannot be sent."""


class InvalidTaskArgumentsError(ValueError):
    """A task was called with arguments that it does not take. Such a call is never retried."""

    def __init__(self, task_name: str, problem: str) -> None:
        super().__init__(f"{task_name}: {problem}")
        self.task_name = task_name
        self.problem = problem


class TaskInterruptedError(NoResultError):
    """A task stopped halfway since its worker ends: it is sent again at once, with its id, and no retry is counted.

    As a `NoResultError` it is nobody's mistake: taskiq logs no traceback, and stores nothing.

    Args:
        reason: what was interrupted where, for the log.
    """

    __template__ = "{reason}"
    reason: str


class ProcessLostError(Exception):
    """The process of the pool in which a task ran has died with it, as often as is allowed."""

    def __str__(self) -> str:
        return "the process of the pool that ran the task has died"


def source_file(member: object) -> str:
    """The file that defines a class or a callable, relative to the working directory where it lies below it.

    Of a partial, a decorated function or a callable object it is the file of what that calls; of anything without a
    file, its module.
    """
    function = innermost(member)
    for candidate in (function, member, type(member)):
        with suppress(TypeError):
            if path := inspect.getsourcefile(cast("type", candidate)):
                return shown_path(path)
    return str(getattr(function, "__module__", None) or type(member).__module__)


def shown_path(path: str) -> str:
    """A path as a reader would type it: relative to the working directory where it lies below it."""
    resolved = Path(path)
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else path
