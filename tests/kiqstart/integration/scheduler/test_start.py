"""A scheduler that cannot start ends with one line, for its supervisor to start it again."""

import os
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.fork_server.client import run_forked
from tests.kiqstart.integration.redis.servers import make_server, running

from kiqstart.testing.processes import kiqstart_command, taskiq_command

APP = "tests.kiqstart.integration.scheduler.apps.bare"
KIQSTART = kiqstart_command("--app", f"{APP}:app", "scheduler", "--no-configure-logging")
TASKIQ = taskiq_command("scheduler", f"{APP}:scheduler", "--no-configure-logging")
BOTH = pytest.mark.parametrize("command", [KIQSTART, TASKIQ], ids=["kiqstart", "taskiq"])
NOTHING_LISTENS = "redis://127.0.0.1:1"


def line_of(command: list[str], url: str) -> str:
    """What a scheduler prints that ends with exit code 1."""
    environment = {**os.environ, "REDIS_URL": url}
    done = run_forked(command, environment=environment, folder=Path.cwd(), timeout=HANG)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


@BOTH
def test_a_redis_that_is_away_is_one_line(command: list[str]) -> None:
    line = line_of(command, NOTHING_LISTENS)
    assert line.startswith("kiqstart: cannot use Redis at 127.0.0.1:1 (REDIS_URL): ")
    assert line.endswith("; start it, or correct the address in REDIS_URL")


def test_a_password_that_redis_refuses_is_no_reason_to_start_it(tmp_path: Path) -> None:
    with running(make_server(tmp_path)) as server:
        line = line_of(KIQSTART, f"redis://nobody:wrong@127.0.0.1:{server.port}")
    assert line.endswith("; correct the user or the password in REDIS_URL")


@BOTH
def test_a_redis_that_is_frozen_is_one_line(command: list[str], tmp_path: Path) -> None:
    with running(make_server(tmp_path)) as server:
        server.freeze()
        line = line_of(command, f"redis://127.0.0.1:{server.port}")
        assert line.startswith(f"kiqstart: cannot use Redis at 127.0.0.1:{server.port} (REDIS_URL): ")


@BOTH
def test_a_database_that_redis_does_not_have_is_one_line(command: list[str], tmp_path: Path) -> None:
    with running(make_server(tmp_path)) as server:
        assert "DB index is out of range" in line_of(command, f"redis://127.0.0.1:{server.port}/99")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://x", "is no URL of a Redis: write redis://"),
        ("", "is no URL of a Redis: write redis://"),
        ("redis://localhost:99999", "has no host:port behind its"),
        ("redis://localhost?db=abc", "has no number of a database"),
    ],
)
def test_a_wrong_url_is_one_line(url: str, problem: str) -> None:
    line = line_of(KIQSTART, url)
    assert line.startswith("kiqstart: the url of the StreamBroker 'taskiq' ")
    assert problem in line
