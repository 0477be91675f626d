"""Where the command `kiqstart` begins.

A worker is to run at once, and its parent to stay small: neither needs what reads the other commands' arguments.
"""

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from kiqstart.errors import OperatorError, print_error
from kiqstart.late_imports import put_off_admin_middleware
from kiqstart.observability.uncaught import take_uncaught_errors
from kiqstart.processes.ending import EarlyEnd
from kiqstart.tasks.labels import LONGEST_NAME

# With which exit code a command ends that is asked to before it has begun.
_EARLY_CODES: Final[Mapping[str, int]] = {"scheduler": 0, "worker": 128 + signal.SIGTERM}
_OBJECTS_BETWEEN_LOOKS: Final = 50_000
_SHOWN: Final = 50
# It hands its arguments on, to a command of anybody's.
_HANDS_ON: Final = "local"


class LongArgumentError(OperatorError):
    """An argument is longer than any id or name can be."""


def main() -> None:
    """Be the process of the command line's command."""
    # What is imported stays: to look through it for what could go is a quarter of a short command's time, and half of
    # that is Python's last look at the end, which passes over what is frozen.
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
    take_uncaught_errors()
    try:
        run_command()
    finally:
        gc.freeze()


def run_command() -> None:
    """Run the command line's command; a mistake that the operator can mend is one line and exit code 1."""
    command = command_of(sys.argv[1:])
    try:
        if command in _EARLY_CODES:
            EarlyEnd(_EARLY_CODES[command]).take_signals()
        if command != _HANDS_ON:
            _check_lengths(sys.argv[1:])
        if sys.argv[1:2] == ["worker"]:
            from kiqstart.cli.worker import run

            raise SystemExit(run(sys.argv[2:]))
        put_off_admin_middleware()
        from kiqstart.cli.app import run_app

        run_app()
    except OperatorError as error:
        print_error(error)
        raise SystemExit(1) from None


def _check_lengths(arguments: Sequence[str]) -> None:
    for argument in arguments:
        size = len(os.fsencode(argument))
        if size > LONGEST_NAME:
            raise LongArgumentError(
                f"the argument {argument[:_SHOWN]!r}… has {size} bytes; ids and names have {LONGEST_NAME} at most"
            )


def command_of(arguments: Sequence[str]) -> str:
    """The name of the command, which stands behind the options that all commands have; '' where there is none."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--app":
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return ""
