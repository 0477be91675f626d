"""Arguments of a task, each made from its signature, and values of texts in the types that it declares."""

import inspect
import json
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args, get_origin

import typing_extensions
from pydantic import TypeAdapter, ValidationError
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.errors import OperatorError
from kiqstart.observability.redaction import STAND_IN, is_secret_name
from kiqstart.tasks.arguments import TaskArguments, task_arguments
from kiqstart.tasks.errors import UnsupportedTaskError

MISSING: Final = object()
"""Stands for an argument that is not given."""


class CallError(OperatorError):
    """A task cannot be called like this."""


@dataclass(frozen=True, kw_only=True)
class CallOption:
    """One argument of a task.

    Args:
        parameter: that of the function which takes it; of `**options` that are spelt out, another one than its name.
        described: as it stands in the signature.
    """

    name: str
    parameter: inspect.Parameter
    adapter: TypeAdapter[Any] = field(repr=False)
    hint: object
    is_required: bool
    described: str

    @property
    def flag(self) -> str:
        """As it is written."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_secret(self) -> bool:
        """Whether it has the name of a secret, so that its value is not to be shown."""
        return is_secret_name(self.name)

    @property
    def takes_many(self) -> bool:
        """Whether it is `*args`."""
        return self.parameter.kind is inspect.Parameter.VAR_POSITIONAL

    def refused(self, text: str, problem: str) -> CallError:
        """What is said of a text that is no value."""
        return CallError(f"{self.flag} {STAND_IN if self.is_secret else repr(text)}: {problem}")

    def value(self, text: str) -> object:
        """The value of a text: as it stands where the type takes that, else as JSON.

        Raises:
            CallError: the type takes neither.
        """
        parsed = _json_or_missing(text)
        if self.hint is Any:
            # Anything goes, so that a number is one.
            return text if parsed is MISSING else parsed
        try:
            return self.adapter.validate_python(text)
        except ValidationError as error:
            problem = _problem_of(error)
        if isinstance(parsed, dict | list) or parsed is None:
            try:
                return cast("object", self.adapter.validate_python(parsed, by_alias=True, by_name=True))
            except ValidationError as error:
                where = ".".join(str(part) for part in error.errors()[0]["loc"])
                problem = f"{where}: {_problem_of(error)}" if where else _problem_of(error)
        raise self.refused(text, problem)


def call_options(arguments: TaskArguments) -> Iterator[CallOption]:
    """The options of a task's signature; those of `**options: Unpack[…]` one by one."""
    for name, parameter in arguments.signature.parameters.items():
        hint = arguments.hints[name]
        if parameter.kind is parameter.VAR_KEYWORD and typing_extensions.is_typeddict(hint):
            yield from _spelt_out(parameter, hint)
            continue
        yield CallOption(
            name=name,
            parameter=parameter,
            adapter=arguments.adapters[name],
            hint=hint,
            is_required=parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
            described=str(parameter.replace(annotation=plain_annotation(parameter.annotation))),
        )


def options_of(task: AsyncTaskiqDecoratedTask[..., object]) -> Sequence[CallOption]:
    """The options of a task; none of one whose signature cannot be read."""
    try:
        return list(call_options(task_arguments(task.original_func)))
    except UnsupportedTaskError:
        return []


def plain_annotation(annotation: object) -> object:
    """An annotation without what `Annotated` adds."""
    if get_origin(annotation) is typing.Annotated:
        return get_args(annotation)[0]
    return annotation if annotation is not None else inspect.Parameter.empty


def call_of(
    arguments: TaskArguments, given: Iterable[tuple[CallOption, object]]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """The positional and named arguments of a call.

    Args:
        arguments: of the task.
        given: its options, each with its text, a sequence of texts for `*args`, another value that is taken as it is,
            or `MISSING`.

    Raises:
        CallError: a text is no value of its option.
    """
    bound = arguments.signature.bind_partial()
    for option, value in given:
        if value is not MISSING:
            _bind(bound, option, value)
    return _by_name(bound)


def _spelt_out(parameter: inspect.Parameter, options: Any) -> Iterator[CallOption]:  # noqa: ANN401  # a TypedDict, which has no type of its own
    hints = typing_extensions.get_type_hints(options, include_extras=True)
    for name, hint in hints.items():
        is_required = name in options.__required_keys__
        shown = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=plain_annotation(hint))
        yield CallOption(
            name=name,
            parameter=parameter,
            adapter=TypeAdapter(hint),
            hint=hint,
            is_required=is_required,
            described=str(shown) if is_required else f"{shown} (may be left out)",
        )


def _bind(bound: inspect.BoundArguments, option: CallOption, given: object) -> None:
    parameter = option.parameter
    if parameter.kind is parameter.VAR_POSITIONAL:
        texts = cast("Sequence[str]", given)
        bound.arguments[parameter.name] = tuple(_one_of(option, text) for text in texts)
        return
    value = option.value(given) if isinstance(given, str) else given
    if option.name != parameter.name:
        bound.arguments[parameter.name] = {**bound.arguments.get(parameter.name, {}), option.name: value}
    else:
        bound.arguments[parameter.name] = value


def _by_name(bound: inspect.BoundArguments) -> tuple[tuple[object, ...], dict[str, object]]:
    """The arguments, named where they can be: one that stands before them may be left out."""
    parameters = bound.signature.parameters.values()
    if any(one.kind is one.VAR_POSITIONAL and one.name in bound.arguments for one in parameters):
        return bound.args, bound.kwargs
    given = [one for one in parameters if one.name in bound.arguments]
    args = tuple(bound.arguments[one.name] for one in given if one.kind is one.POSITIONAL_ONLY)
    kwargs: dict[str, object] = {}
    for one in given:
        if one.kind is one.VAR_KEYWORD:
            kwargs |= bound.arguments[one.name]
        elif one.kind is not one.POSITIONAL_ONLY:
            kwargs[one.name] = bound.arguments[one.name]
    return args, kwargs


def _one_of(option: CallOption, text: str) -> object:
    """One value of `*args`, whose type is that of all together."""
    problem = ""
    for value in (text, _json_or_missing(text)):
        if value is not MISSING:
            try:
                return cast("tuple[object, ...]", option.adapter.validate_python((value,)))[0]
            except ValidationError as error:
                problem = _problem_of(error)
    raise option.refused(text, problem)


def _problem_of(error: ValidationError) -> str:
    return error.errors(include_url=False, include_input=False)[0]["msg"]


def _json_or_missing(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return MISSING
