"""The arguments that a task takes, checked where it is sent and again where it runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from taskiq import TaskiqMessage, TaskiqMiddleware
from taskiq_dependencies.dependency import Dependency

from kiqstart.infrastructure.taskiq.errors import InvalidTaskArgumentsError


class TaskArguments:
    """Names, types and defaults of what a caller may pass, read once from a task's signature.

    Parameters that the worker fills in (`TaskiqDepends`) are not among them. Values are checked by pydantic in its lax
    mode, as taskiq itself does: a UUID or a datetime arrives as JSON text and reaches the task as its type.

    Raises:
        TypeError: where a parameter's type is one that pydantic cannot check.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        hints = get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
        injected = {name: hints[name] for name, p in signature.parameters.items() if _is_injected(p, hints.get(name))}
        taken = [parameter for name, parameter in signature.parameters.items() if name not in injected]
        self.injected = injected
        self.signature = signature.replace(parameters=taken)
        self.return_type = hints.get("return")
        self._adapters = {parameter.name: _adapter(parameter, hints) for parameter in taken}

    def validate(
        self, task_name: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return positional and named arguments in their declared types, defaults left to the task.

        Raises:
            InvalidTaskArgumentsError: naming the argument that is missing, unknown or of the wrong value.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidTaskArgumentsError(task_name, f"{error}; it takes {self.signature}") from None
        for name, value in bound.arguments.items():
            bound.arguments[name] = self._validate_one(task_name, name, value)
        return bound.args, bound.kwargs

    def _validate_one(self, task_name: str, name: str, value: object) -> object:
        try:
            return self._adapters[name].validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join((name, *(str(part) for part in first["loc"])))
            raise InvalidTaskArgumentsError(task_name, f"argument {where}: {first['msg']}") from None


@cache
def task_arguments(function: Callable[..., object]) -> TaskArguments:
    """The arguments of a task's function, or of the one that it wraps; the signature is read once."""
    return TaskArguments(inspect.unwrap(function))


class ArgumentsMiddleware(TaskiqMiddleware):
    """Refuses a bad call at the caller, before anything is sent."""

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Check the arguments of a known task.

        Raises:
            InvalidTaskArgumentsError: out of `kiq()`; nothing was sent.
        """
        task = self.broker.find_task(message.task_name)
        if task is not None:
            task_arguments(task.original_func).validate(message.task_name, message.args, message.kwargs)
        return message


def _is_injected(parameter: inspect.Parameter, hint: object) -> bool:
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(item, Dependency) for item in (parameter.default, *metadata))


def _adapter(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> TypeAdapter[Any]:
    hint: Any = hints.get(parameter.name, Any)
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        hint = tuple.__class_getitem__((hint, ...))
    elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
        hint = dict.__class_getitem__((str, hint))
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError as error:
        raise TypeError(f"parameter {parameter.name}: its type {hint} cannot be checked or sent as JSON") from error
