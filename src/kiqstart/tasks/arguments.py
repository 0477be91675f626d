"""The arguments that a task takes, checked where it is sent and again where it runs."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast, get_args, get_origin

import typing_extensions
from pydantic import PydanticSchemaGenerationError, ValidationError
from taskiq import TaskiqMessage, TaskiqMiddleware

from kiqstart.observability.redaction import is_secret_name
from kiqstart.tasks.checked_type import CheckedType, checked_type
from kiqstart.tasks.errors import InvalidTaskArgumentsError, UnsupportedTaskError
from kiqstart.tasks.injection import Injection
from kiqstart.tasks.signatures import read_signature

_ATTRIBUTE: Final = "_kiqstart_arguments"
_UNPACK: Final = (typing.Unpack, typing_extensions.Unpack)
_NO_RESULT: Final = (None, typing.NoReturn, typing.Never, typing_extensions.Never)


class TaskArguments:
    """Names, types and defaults of what a caller may pass, read once from a task's signature.

    Parameters that the worker fills in (`TaskiqDepends`) are not among them. Values are checked by pydantic in its lax
    mode, as taskiq itself does: a UUID or a datetime arrives as JSON text and reaches the task as its type. Fields of
    models are taken by their names, by which they are sent, and by their aliases.

    Raises:
        UnsupportedTaskError: a parameter's type is not known at run time, or is one that pydantic cannot check.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        read = read_signature(function)
        self.injection = Injection(read)
        taken = self.injection.passed
        self.signature = read.signature.replace(parameters=list(taken.values()))
        self.hints = {name: _hint(one, read.hints.get(name, Any)) for name, one in taken.items()}
        self.return_type = read.return_type
        self._types = {name: _checked(f"parameter {name}: its type", hint) for name, hint in self.hints.items()}
        self.adapters = {name: checked.adapter for name, checked in self._types.items()}
        # Half the time of a validation is TypeAdapter's own.
        self._validators = {name: adapter.validator for name, adapter in self.adapters.items()}
        self._options = {
            name: _keys(self.hints[name])
            for name, one in taken.items()
            if one.kind is one.VAR_KEYWORD and _is_unpacked(read.hints.get(name))
        }

        self._before_secrets = _positions_before_secrets(self.signature)
        are_plain = all(one.kind is one.POSITIONAL_OR_KEYWORD for one in taken.values())
        self._plain_names = tuple(taken) if are_plain else None

    @property
    def has_secrets(self) -> bool:
        """Whether a parameter that may be handed in by its place has the name of a secret."""
        return self._before_secrets is not None

    def name_secrets(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        """The same call, a secret beside its parameter's name, by which whatever shows the call knows it for one.

        Args:
            args: as a caller has handed them in, which were validated.
            kwargs: likewise.
        """
        first = self._before_secrets
        if first is None or len(args) <= first:
            return args, kwargs
        named = list(self.signature.parameters.values())[first : len(args)]
        if any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in named):
            return args, kwargs
        return args[:first], {**dict(zip((one.name for one in named), args[first:], strict=True)), **kwargs}

    def check_sendable(self) -> None:
        """Check that arguments and result arrive as they are sent, and that each secret can be told from other values.

        Raises:
            UnsupportedTaskError: with the parameter and its type.
        """
        for name, one in self.signature.parameters.items():
            if one.name == "self" and one.annotation is one.empty:
                raise UnsupportedTaskError("it takes self: register the method of an instance, such as self.build")
            _check_json(f"parameter {name}: its type", self.hints[name], self._types[name])
        self._check_secrets()
        self.injection.check()
        if self.return_type not in _NO_RESULT:
            what = "its return type"
            _check_json(what, self.return_type, _checked(what, self.return_type))

    def _check_secrets(self) -> None:
        parameters = list(self.signature.parameters.values())
        # Whatever stands before it can be handed in by its place only, where there is such a one.
        rest = next((place for place, one in enumerate(parameters) if one.kind is one.VAR_POSITIONAL), -1)
        for place, one in enumerate(parameters):
            if is_secret_name(one.name) and (place <= rest or one.kind is one.POSITIONAL_ONLY):
                raise UnsupportedTaskError(
                    f"parameter {one.name}: a secret is known by its name, with which it has to be sent: put it "
                    "behind a * in the parameters"
                )

    def validate(
        self, task_name: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return positional and named arguments in their declared types, defaults left to the task.

        Raises:
            InvalidTaskArgumentsError: naming the argument that is missing, unknown or of the wrong value.
        """
        bound = self.check(task_name, args, kwargs)
        return self.injection.by_name(bound) if self.injection.moves_positions else (bound.args, bound.kwargs)

    def check(self, task_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
        """Give each argument its parameter's name and its declared type.

        Raises:
            InvalidTaskArgumentsError: likewise.
        """
        bound = self.bind(task_name, args, kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = self.validate_one(task_name, name, value)
        return bound

    def bind(self, task_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
        """Give each argument its parameter's name, as they are.

        Raises:
            InvalidTaskArgumentsError: one is missing or unknown.
        """
        names, count = self._plain_names, len(args)
        if names is not None and len(names) == count + len(kwargs) and all(name in kwargs for name in names[count:]):
            # As most calls are: `Signature.bind` takes several times as long.
            arguments = dict(zip(names, (*args, *(kwargs[name] for name in names[count:])), strict=True))
            return inspect.BoundArguments(self.signature, arguments)
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidTaskArgumentsError(task_name, f"{error}; it takes {self.signature}") from None
        for name, known in self._options.items():
            if unknown := sorted(set(bound.arguments.get(name, ())) - known):
                raise InvalidTaskArgumentsError(
                    task_name, f"got an unexpected keyword argument {unknown[0]!r}; it takes {', '.join(sorted(known))}"
                )
        return bound

    def validate_one(self, task_name: str, name: str, value: object) -> object:
        """Return one parameter's value in its declared type.

        Raises:
            InvalidTaskArgumentsError: it is of the wrong value.
        """
        try:
            return self._validators[name].validate_python(value, by_alias=True, by_name=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # What `**options` collects is named as the caller wrote it.
            collected = self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            where = ".".join(([] if collected else [name]) + [str(part) for part in first["loc"]])
            raise InvalidTaskArgumentsError(task_name, f"argument {where}: {first['msg']}") from None


def task_arguments(function: Callable[..., object]) -> TaskArguments:
    """The arguments of a task's function; the signature is read once.

    Raises:
        UnsupportedTaskError: of a function that was not registered with `register_task`: it cannot be a task.
    """
    return attached_arguments(function) or _read(function)


def attached_arguments(function: Callable[..., object]) -> TaskArguments | None:
    """The arguments of a function that was registered with `register_task`; None of any other."""
    attached = getattr(function, _ATTRIBUTE, None)
    return attached if isinstance(attached, TaskArguments) else None


def attach_arguments(function: Callable[..., object], arguments: TaskArguments) -> None:
    """Let `task_arguments` find the arguments of a function that stands before a task."""
    setattr(function, _ATTRIBUTE, arguments)


def has_arguments(function: Callable[..., object]) -> bool:
    """Whether a function stands before a task, and so is of `register_task`."""
    return hasattr(function, _ATTRIBUTE)


class ArgumentsMiddleware(TaskiqMiddleware):
    """Refuses a bad call at the caller, before anything is sent.

    Args:
        every_task: whether it looks at all tasks of the broker, and not only at those of `register_task`.
    """

    def __init__(self, *, every_task: bool = True) -> None:
        super().__init__()
        self._every_task = every_task

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Check the arguments of a known task.

        Raises:
            InvalidTaskArgumentsError: out of `kiq()`; nothing was sent.
        """
        task = self.broker.find_task(message.task_name)
        if task is not None and (self._every_task or has_arguments(task.original_func)):
            arguments = task_arguments(task.original_func)
            arguments.check(message.task_name, message.args, message.kwargs)
            if arguments.has_secrets:
                args, kwargs = arguments.name_secrets(message.args, message.kwargs)
                message.args, message.kwargs = list(args), dict(kwargs)
        return message


@cache
def _read(function: Callable[..., object]) -> TaskArguments:
    return TaskArguments(function)


def _positions_before_secrets(signature: inspect.Signature) -> int | None:
    for place, one in enumerate(signature.parameters.values()):
        if one.kind is one.POSITIONAL_OR_KEYWORD and is_secret_name(one.name):
            return place
    return None


def _is_unpacked(hint: object) -> bool:
    return get_origin(hint) in _UNPACK


def _hint(parameter: inspect.Parameter, hint: Any) -> Any:  # noqa: ANN401  # types of any kind
    if parameter.kind is parameter.VAR_POSITIONAL:
        if getattr(hint, "__unpacked__", False):
            return tuple.__class_getitem__(get_args(hint))
        return get_args(hint)[0] if _is_unpacked(hint) else tuple.__class_getitem__((hint, ...))
    if parameter.kind is parameter.VAR_KEYWORD:
        return get_args(hint)[0] if _is_unpacked(hint) else dict.__class_getitem__((str, hint))
    return hint


def _keys(options: Any) -> frozenset[str]:  # noqa: ANN401  # a TypedDict, which has no type of its own
    return cast("frozenset[str]", options.__required_keys__ | options.__optional_keys__)


def _checked(what: str, hint: Any) -> CheckedType:  # noqa: ANN401  # a type of any kind
    try:
        return checked_type(hint)
    except PydanticSchemaGenerationError:
        raise UnsupportedTaskError(f"{what} {_shown(hint)} cannot be checked or sent as JSON") from None
    except Exception as error:  # noqa: BLE001  # pydantic lets through what a type's own hooks raise
        reason = str(error).partition("\n")[0]
        raise UnsupportedTaskError(f"{what} {_shown(hint)} cannot be checked: {reason}") from None


def _check_json(what: str, hint: object, checked: CheckedType) -> None:
    if problem := checked.json_problem:
        raise UnsupportedTaskError(f"{what} {_shown(hint)} cannot travel as JSON: {problem}")


def _shown(hint: object) -> str:
    return hint.__qualname__ if isinstance(hint, type) and not get_args(hint) else str(hint)
