"""Arguments of calls as text, by which calls are told apart: in the form that unique keys have."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from pydantic_core import PydanticSerializationError
from taskiq import TaskiqMessage

from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.canonical import canonical_text
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError
from kiqstart.tasks.formatting import as_json
from kiqstart.tasks.unique_keys import KeyTemplate, bounded_key

Function = Callable[..., object]
_REMEMBERED: Final = 200


def text_of_argument(function: Function, task_name: str, name: str, value: object) -> str:
    """A value of one argument of a task, as `texts_of_call` has it.

    Raises:
        UnsupportedTaskError: the task has no such argument, or one that has no text.
        InvalidTaskArgumentsError: the argument does not take this value.
    """
    _template(function, name)
    try:
        return bounded_key(canonical_text(task_arguments(function).validate_one(task_name, name, as_json(value))))
    except PydanticSerializationError as error:
        raise InvalidTaskArgumentsError(task_name, f"argument {name}: {error}") from None


def texts_of_call(function: Function, message: TaskiqMessage, names: Sequence[str]) -> tuple[str, ...] | None:
    """The arguments of these names, one that is left out by its default; None where the task does not take the call."""
    try:
        return tuple(_template(function, name).key(message.task_name, message.args, message.kwargs) for name in names)
    except (InvalidTaskArgumentsError, UnsupportedTaskError):
        return None


@lru_cache(_REMEMBERED)
def _template(function: Function, name: str) -> KeyTemplate:
    arguments = task_arguments(function)
    if name not in arguments.signature.parameters:
        known = ", ".join(arguments.signature.parameters) or "none"
        raise UnsupportedTaskError(f"the task takes no argument {name!r}; it takes: {known}")
    return KeyTemplate(f"{{{name}}}", arguments)
