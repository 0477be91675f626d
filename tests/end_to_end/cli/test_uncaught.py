"""An error that nobody has caught is shown with its traceback, without secrets, and harmless on a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.fuzz.judge import check_printed

BAD = """
def fail():
    error = RuntimeError("no \\x1b[2J\\npassword=planted-1 redis://u@v:planted-2@h/0")
    error.add_note("token: planted-3")
    raise error from ValueError({"secret": "planted-4"})

if "IMPORT" in __name__.upper():
    fail()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bad", "bad_import"):
        (tmp_path / f"{name}.py").write_text(BAD)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("--app", "bad:fail", "tasks"),
        ("--app", "bad_import:app", "shell"),
        ("--app", "bad:fail", "scheduler"),
        ("worker", "bad_import:broker", "--workers", "1"),
    ],
    ids=" ".join,
)
def test_it_is_harmless(folder: Path, redis_url: str, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kiqstart", *command],
        cwd=folder,
        env={**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": "."},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode != 0
    assert "RuntimeError: no \\x1b[2J" in done.stderr
    assert "password=***" in done.stderr
    check_printed(done.stderr.replace("Traceback (most recent call last)", ""))
