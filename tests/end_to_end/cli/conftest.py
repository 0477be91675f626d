import asyncio
import io
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.deadlines import HANG
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Answer, Kiqstart, look_once
from tests.planted_secrets import check_output
from tests.typer_command import PUT_TOGETHER_ONCE

from kiqstart.cli.main import run_command


@pytest.fixture
def kiqstart(service_environment: dict[str, str], tmp_path: Path) -> CommandLine:
    return CommandLine(environment=service_environment, folder=tmp_path)


@pytest.fixture
def kiqstart_here(
    redis_url: str,
    key_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Kiqstart:
    """`kiqstart` in this process, on the test's Redis, without a database: a process takes a second to start.

    A test that has an event loop calls it in a thread, beside the loop.
    """
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("TASKS_KEY_PREFIX", key_prefix)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    # Who has looked once has looked a moment ago, however busy the machine is.
    monkeypatch.setattr("kiqstart.scheduler.store.SECONDS_UNTIL_GONE", HANG)

    def run(*arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Answer:
        # `--app` sets a variable.
        with monkeypatch.context() as during, patch.dict(os.environ):
            during.chdir(tmp_path)
            for name, value in (environment or {}).items():
                during.setenv(name, value)
            during.setattr(sys, "argv", ["kiqstart", *arguments])
            during.setattr("typer.main.get_command", PUT_TOGETHER_ONCE)
            during.setattr(sys, "stdin", io.StringIO(stdin))
            during.setattr(sys, "excepthook", sys.excepthook)
            # A command that serves sets up logging, to a standard error that ends with its test.
            during.setattr(logging.root, "handlers", [logging.NullHandler()])
            during.setattr(logging.root, "level", logging.root.level)
            with pytest.raises(SystemExit) as ended:
                run_command()
        captured = capsys.readouterr()
        check_output(captured.out + captured.err)
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def kiqstart_on_database(kiqstart_here: Kiqstart, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Kiqstart:
    """`kiqstart` in this process, on the test's Redis and database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return kiqstart_here


@pytest.fixture
def scheduled(kiqstart_here: Kiqstart) -> Kiqstart:
    """With the table in effect, and a scheduler that has just looked."""
    asyncio.run(look_once())
    return kiqstart_here
