import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.fork_server.client import run_forked
from tests.kiqstart.integration.redis.servers import make_server, running

from kiqstart.testing.processes import kiqstart_command

APP = "tests.kiqstart.integration.worker.app"
NOTHING_LISTENS = "redis://127.0.0.1:1"


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(
        kiqstart_command("worker", *arguments),
        environment={**os.environ, **environment},
        folder=Path.cwd(),
        timeout=HANG,
    )


# Several processes hand what they complain of to their parent, whatever it is.
@pytest.mark.parametrize(
    ("place", "workers", "complaint"),
    [
        ("tests.nowhere:broker", "1", "tests.nowhere:broker: there is no module 'tests.nowhere' in "),
        (f"{APP}:nothing", "1", f"{APP}:nothing: {APP} has no 'nothing' ("),
        (f"{APP}:not_a_broker", "1", f"{APP}:not_a_broker is no broker, but a str: name an AsyncBroker, an App, or "),
        (f"{APP}:not_a_broker", "3", f"{APP}:not_a_broker is no broker, but a str: name an AsyncBroker, an App, or "),
        (f"{APP}:in_memory", "1", f"{APP}:in_memory: an in-memory broker (as REDIS_URL=memory:// gives"),
        (f"{APP}:in_memory", "2", f"{APP}:in_memory: an in-memory broker (as REDIS_URL=memory:// gives"),
    ],
)
def test_a_broker_that_is_not_there_is_one_line(
    worker_environment: dict[str, str], workers: str, place: str, complaint: str
) -> None:
    done = run(worker_environment, place, "--workers", workers)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"kiqstart: {complaint}")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["broker"], "'broker' names nothing to import: write module:name"),
        (["--reload"], "kiqstart worker has no --reload: use `taskiq worker --reload`, "),
        (
            ["--workers", "0"],
            "kiqstart worker: argument --workers/-w: '0' is no whole number from 1 on, of up to 9 digits ",
        ),
        (["--wait-tasks-timeout", "soon"], "argument --wait-tasks-timeout: 'soon' is no number of seconds "),
        (["--speed", "9"], "kiqstart worker: unrecognized arguments: --speed "),
        (["--log-format", "%"], "argument --log-format: '%' is no format of Python's logging: "),
        (["--max-async-tasks", "9" * 30], "argument --max-async-tasks: '999999999999999999999999999999' is no whole "),
        (["--max-async-tasks", "-3"], "argument --max-async-tasks: '-3' is no whole number from 0 on, "),
        (["--max-fails", "-2"], "argument --max-fails: '-2' is no whole number from 0 on, "),
        (["--wait-tasks-timeout", "1e300"], "argument --wait-tasks-timeout: '1e300' is no number of seconds "),
        (["--tasks-pattern", "/x/*.py"], "argument --tasks-pattern/-tp: '/x/*.py' is no pattern of files below "),
        (["..x:y"], "'..x:y' names no module: write its whole name"),
        ([f"{APP}:broker", "nosuchmodule"], "nosuchmodule: there is no module 'nosuchmodule' in "),
        ([f"{APP}:broker", f"{APP}.nosuch"], f"{APP}.nosuch: there is no module '{APP}.nosuch' in "),
        (
            [f"{APP}:broker", "--receiver_arg", "nosuch=1"],
            "--receiver_arg nosuch=1: StreamReceiver does not take that: ",
        ),
        ([f"{APP}:broker", "--receiver_arg", "max_prefetch=1"], "--receiver_arg max_prefetch=…: there is an option "),
        ([f"{APP}:broker", "--receiver", f"{APP}:broker"], f"{APP}:broker is no receiver: name a class "),
    ],
)
def test_a_wrong_argument_is_one_line(worker_environment: dict[str, str], arguments: list[str], complaint: str) -> None:
    done = run(worker_environment, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert complaint in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_redis_that_is_away_is_one_line(worker_environment: dict[str, str], workers: str) -> None:
    environment = {**worker_environment, "REDIS_URL": NOTHING_LISTENS}
    done = run(environment, f"{APP}:broker", "--log-level", "WARNING", "--workers", workers)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("kiqstart: cannot use Redis at 127.0.0.1:1: ")


def test_a_database_that_redis_does_not_have_is_one_line(worker_environment: dict[str, str], tmp_path: Path) -> None:
    with running(make_server(tmp_path)) as server:
        environment = {**worker_environment, "REDIS_URL": f"redis://127.0.0.1:{server.port}/99"}
        done = run(environment, f"{APP}:broker", "--log-level", "WARNING")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "DB index is out of range" in done.stderr


def test_a_wrong_url_is_one_line(worker_environment: dict[str, str]) -> None:
    done = run({**worker_environment, "REDIS_URL": "http://x"}, f"{APP}:broker")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "is no URL of a Redis: write redis://" in done.stderr
