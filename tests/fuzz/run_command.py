"""Runs `kiqstart` in this process: one of its own would take a second to start."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

from tests.fuzz.judge import FindingError, check_printed, escape_all
from tests.typer_command import PUT_TOGETHER_ONCE

from kiqstart.cli.main import run_command

# What an environment must not bring into a command that is tried.
_OURS: Final = ("TASKS_", "RETENTION_", "LOG_", "REDIS_", "DATABASE_")
_APP: Final = "todo_service.ioc.app:create_app"
# Typer's: 2 for arguments that are none.
_CODES: Final = (0, 1, 2)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    arguments: Sequence[str]
    code: object
    out: str
    err: str


def run_command_line(arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> Ended:
    """Run a command in a folder, with these variables instead of the process' own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    kept["KIQSTART_APP"] = _APP
    out, err, code = io.StringIO(), io.StringIO(), None
    with ExitStack() as during:
        during.enter_context(patch.dict(os.environ, {**kept, **environment}, clear=True))
        during.enter_context(chdir(folder))
        during.enter_context(patch.object(sys, "argv", ["kiqstart", *arguments]))
        during.enter_context(patch("typer.main.get_command", PUT_TOGETHER_ONCE))
        during.enter_context(patch.object(sys, "stdin", io.StringIO()))
        during.enter_context(patch.object(sys, "excepthook", sys.excepthook))
        during.enter_context(redirect_stdout(out))
        during.enter_context(redirect_stderr(err))
        try:
            run_command()
        except SystemExit as end:
            code = end.code or 0
    return Ended(arguments, code, out.getvalue(), err.getvalue())


def check_ended(ended: Ended) -> None:
    """Fail if it did not end as a command does: with a code of its own, and where it failed, a line on why."""
    check_printed(ended.out)
    check_printed(ended.err)
    if ended.code not in _CODES:
        raise FindingError(f"exit code {ended.code!r} of {ended.arguments!r:.300}")
    if ended.code and not ended.err.strip():
        raise FindingError(f"it fails without a word: {ended.arguments!r:.300} {escape_all(ended.out)}")
