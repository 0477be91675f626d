"""Asserting that a task was sent."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from taskiq import TaskiqMessage

from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.task import Task


class Enqueued:
    """Asserts that a task is in a queue of the test's Redis: waiting, running or delayed, whichever queue it is.

        await enqueued(registry.session_cleanup, days_old=7)

    Args:
        read: gives the messages of all queues.
    """

    def __init__(self, read: Callable[[], Awaitable[list[TaskiqMessage]]]) -> None:
        self._read = read

    async def __call__(self, task: Task[..., Any], *args: object, **kwargs: object) -> list[TaskiqMessage]:
        """Give the messages of a task with these arguments, oldest first; arguments that are not named may be any.

        A message's defaults count, whether the sender has named them or not.

        Raises:
            AssertionError: there is none; with what there is instead.
            InvalidTaskArgumentsError: the task takes no such arguments.
        """
        wanted = _named(task, args, kwargs)
        messages = await self._read()
        found = [one for one in messages if one.task_name == task.task_name and _has(task, one, wanted)]
        if not found:
            sent = ", ".join(_shown(one) for one in messages) or "nothing"
            with_these = f" with {', '.join(f'{name}={value!r}' for name, value in wanted.items())}" if wanted else ""
            raise AssertionError(f"{task.task_name}{with_these} is not enqueued; what is: {sent}")
        return found


def _named(task: Task[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    arguments = task_arguments(task.original_func)
    try:
        given = arguments.signature.bind_partial(*args, **kwargs).arguments
    except TypeError as error:
        raise InvalidTaskArgumentsError(task.task_name, f"{error}; it takes {arguments.signature}") from None
    return {name: arguments.validate_one(task.task_name, name, value) for name, value in given.items()}


def _has(task: Task[..., Any], message: TaskiqMessage, wanted: Mapping[str, object]) -> bool:
    arguments = task_arguments(task.original_func)
    try:
        bound = arguments.bind(task.task_name, message.args, message.kwargs)
        bound.apply_defaults()
        return all(
            arguments.validate_one(task.task_name, name, bound.arguments[name]) == value
            for name, value in wanted.items()
        )
    except InvalidTaskArgumentsError:
        return False


def _shown(message: TaskiqMessage) -> str:
    given = [*map(repr, message.args), *(f"{name}={value!r}" for name, value in message.kwargs.items())]
    return f"{message.task_name}({', '.join(given)})"
