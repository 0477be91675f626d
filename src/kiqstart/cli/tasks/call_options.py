"""Options of a command line, made from a task's signature."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast

from kiqstart.operations.call_options import (
    MISSING,
    CallError,
    CallOption,
    call_of,
    call_options,
    plain_annotation,
)
from kiqstart.tasks.arguments import TaskArguments


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
    given = [(option, found.pop(key)) for key, option in options.items()]
    args, kwargs = call_of(arguments, [(one, MISSING if value is None else value) for one, value in given])
    return args, kwargs, replace(own, **cast("dict[str, Any]", found))


class HelpAsked(Exception):  # noqa: N818  # no error
    """Carries the text about a task's options."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CallError(f"{message}; see {self.prog} --help")


def _add(parser: argparse.ArgumentParser, key: str, option: CallOption) -> None:
    many = option.takes_many
    text = option.described.replace("%", "%%")
    if plain_annotation(option.hint) is bool:
        parser.add_argument(
            option.flag,
            dest=key,
            action=argparse.BooleanOptionalAction,
            required=option.is_required,
            default=MISSING,
            help=text,
        )
        return
    parser.add_argument(
        option.flag,
        dest=key,
        action="append" if many else "store",
        required=option.is_required,
        default=None if many else MISSING,
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
