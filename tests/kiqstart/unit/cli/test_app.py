import subprocess
import sys

import pytest

from kiqstart.cli.app import run_app

HEAVY = ("sqlalchemy", "taskiq", "alembic", "redis", "rich", "pydantic", "structlog", "asyncio")


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from kiqstart.cli.app import app
try:
    app(["--help"])
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_looks_at_queues_imports_neither_log_nor_migrations_nor_what_only_peers_need() -> None:
    not_needed = ("aiohttp", "alembic", "rich", "structlog", "taskiq_redis")
    program = f"""
import sys
from kiqstart.late_imports import put_off_admin_middleware
put_off_admin_middleware()  # as the command does
import kiqstart.cli.application
print([name for name in {not_needed!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["dead", "list", "\x1b[31m"], ["\x1b[2J"], ["--\x1b[2J"], ["ping", "--timeout", "\n\x07"]]
)
def test_arguments_that_are_none_are_quoted_harmless(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kiqstart", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_app()
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "Error: " in err
    assert all(line.isprintable() for line in err.split("\n"))
