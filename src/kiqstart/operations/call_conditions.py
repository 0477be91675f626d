"""Which calls of a task are meant: those of an argument's value."""

from collections.abc import Mapping, Sequence

from taskiq import AsyncBroker

from kiqstart.errors import OperatorError
from kiqstart.operations.call_options import call_options
from kiqstart.tasks.argument_texts import text_of_argument
from kiqstart.tasks.arguments import task_arguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError


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
