"""`kiqstart local`: a command with servers."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

from kiqstart.app import App
from kiqstart.cli.application import application
from kiqstart.cli.servers import migrate_local, servers
from kiqstart.cli.signals import exit_on_signal
from kiqstart.errors import OperatorError, print_error

_FROM_KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON: Final = (*_FROM_KEYBOARD, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class CommandError(OperatorError):
    """The command cannot be run."""


def run_local(command: Sequence[str]) -> int:
    """Run `command` with servers, pass signals on to it, and return its exit code (128 + number for a signal)."""
    with exit_on_signal(), servers() as found:
        migrate_local(found, _sound_application)
        return _run(command)


def _sound_application() -> App | None:
    # The command says itself what is wrong, and may be one that waits for the next edit.
    try:
        return application()
    except Exception as error:  # noqa: BLE001  # whatever its modules raise
        print_error(f"the local database is not migrated, as the application fails: {type(error).__name__}: {error}")
        return None


def _run(command: Sequence[str]) -> int:
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif not _sent_by_terminal(number):
            process.send_signal(number)

    for passed_on in _PASSED_ON:
        signal.signal(passed_on, pass_on)
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        raise CommandError(f"cannot run {command[0]!r}: {error.strerror}") from None
    for number in early:
        process.send_signal(number)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _sent_by_terminal(number: int) -> bool:
    """Whether the command has the signal already: a terminal sends Ctrl-C to all of its foreground process group."""
    if number not in _FROM_KEYBOARD:
        return False
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False
