"""Options of a command line, made from a task's signature, and their values in the types that it declares."""

import argparse
import inspect
import json
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn, cast, get_args, get_origin

import typing_extensions
from pydantic import TypeAdapter, ValidationError

from kiqstart.errors import OperatorError
from kiqstart.tasks.arguments import TaskArguments

_MISSING: Final = object()


class CallError(OperatorError):
    """A task cannot be called like this."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `kiqstart tasks run` itself takes.

    Args:
        timeout: seconds; None: for ever.
        progress: whether to wait, and say meanwhile how far it is.
    """

    wait: bool = False
    progress: bool = False
    timeout: float | None = None
    dry_run: bool = False
    reason: str | None = None


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

    def value(self, text: str) -> object:
        """The value of a text: as it stands where the type takes that, else as JSON.

        Raises:
            CallError: the type takes neither.
        """
        parsed = _json_or_missing(text)
        if self.hint is Any:
            # Anything goes, so that a number is one.
            return text if parsed is _MISSING else parsed
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
        raise CallError(f"{self.flag} {text!r}: {problem}")


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


def plain_annotation(annotation: object) -> object:
    """An annotation without what `Annotated` adds."""
    if get_origin(annotation) is typing.Annotated:
        return get_args(annotation)[0]
    return annotation if annotation is not None else inspect.Parameter.empty


def parse_call(
    task_name: str, arguments: TaskArguments, words: Sequence[str], own: RunOptions
) -> tuple[tuple[object, ...], dict[str, object], RunOptions]:
    """The positional and named arguments that words of a command line give, and what `tasks run` itself takes of them.

    Raises:
        CallError: an option is missing, unknown or of a wrong value.
        HelpAsked: somebody wants to know which options there are.
    """
    options = {f"argument_{place}": one for place, one in enumerate(call_options(arguments))}
    if "--help" in words and "--help" not in {option.flag for option in options.values()}:
        # Whatever is required is not, then.
        words = ["--help"]
        options = {key: replace(option, is_required=False) for key, option in options.items()}
    parser = _Parser(prog=f"kiqstart tasks run {task_name}", add_help=False, allow_abbrev=False)
    for key, option in options.items():
        _add(parser, key, option)
    _add_own(parser, {option.flag for option in options.values()})
    found = cast("dict[str, object]", vars(parser.parse_args(words)))
    if found.pop("help", False):
        raise HelpAsked(parser.format_help())
    bound = arguments.signature.bind_partial()
    for key, option in options.items():
        if (given := found.pop(key)) is not _MISSING:
            _bind(bound, option, given)
    args, kwargs = _by_name(bound)
    return args, kwargs, replace(own, **cast("dict[str, Any]", found))


class HelpAsked(Exception):  # noqa: N818  # no error
    """Carries the text about a task's options."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CallError(f"{message}; see {self.prog} --help")


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


def _add(parser: argparse.ArgumentParser, key: str, option: CallOption) -> None:
    many = option.parameter.kind is inspect.Parameter.VAR_POSITIONAL
    text = option.described.replace("%", "%%")
    if plain_annotation(option.hint) is bool:
        parser.add_argument(
            option.flag,
            dest=key,
            action=argparse.BooleanOptionalAction,
            required=option.is_required,
            default=_MISSING,
            help=text,
        )
        return
    parser.add_argument(
        option.flag,
        dest=key,
        action="append" if many else "store",
        required=option.is_required,
        default=None if many else _MISSING,
        metavar="VALUE",
        help=text,
    )


def _add_own(parser: argparse.ArgumentParser, taken: set[str]) -> None:
    own: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("--wait",), {"action": "store_true", "help": "wait for the result, and print it"}),
        (
            ("--timeout",),
            {"type": float, "metavar": "SECONDS", "help": "how long to wait; by default, until it has ended"},
        ),
        (("--progress",), {"action": "store_true", "help": "wait, and say meanwhile how far it is"}),
        (("--dry-run",), {"action": "store_true", "help": "print the message that would be sent, and send nothing"}),
        (("--reason", "--because"), {"dest": "reason", "metavar": "TEXT", "help": "why, for the log of acts"}),
        (("--help",), {"action": "store_true", "help": "show this"}),
    ]
    for flags, settings in own:
        if free := [flag for flag in flags if flag not in taken]:
            parser.add_argument(*free, default=argparse.SUPPRESS, **settings)


def _bind(bound: inspect.BoundArguments, option: CallOption, given: object) -> None:
    parameter = option.parameter
    if parameter.kind is parameter.VAR_POSITIONAL:
        if given is not None:
            texts = cast("list[str]", given)
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
        if value is not _MISSING:
            try:
                return cast("tuple[object, ...]", option.adapter.validate_python((value,)))[0]
            except ValidationError as error:
                problem = _problem_of(error)
    raise CallError(f"{option.flag} {text!r}: {problem}")


def _problem_of(error: ValidationError) -> str:
    return error.errors(include_url=False, include_input=False)[0]["msg"]


def _json_or_missing(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return _MISSING
