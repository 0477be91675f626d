"""That `make benchmark-throughput` works, in its short form; its figures are not judged here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from redis import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.redis.servers import make_server, running

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "benchmarks.throughput", "--short")
FIGURES = {
    "enqueue one by one, tasks/s",
    "enqueue 100 in flight, tasks/s",
    "enqueue in bulk, tasks/s",
    "run with 1 worker process, tasks/s",
    "run with 2 worker processes, tasks/s",
    "worker CPU a task, µs",
    "round trip p50, ms",
    "round trip p99, ms",
    "worker start to first task, s",
    "idle RSS, MiB",
    "idle PSS, MiB",
    "idle CPU, %",
    "task",
}

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="it reads what processes take from /proc"),
]


@pytest.fixture
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Of a Redis whose databases and memory no other test uses."""
    with running(make_server(tmp_path_factory.mktemp("redis"))) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def own_environment(redis_url: str, database_url: str, folder: Path) -> dict[str, str]:
    """All that it starts has the folder's name in its environment."""
    return {**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": database_url, "TMPDIR": str(folder)}


def processes_of(folder: Path) -> list[str]:
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except (OSError, ProcessLookupError):
            continue
    return found


def queues_in(redis: Redis) -> list[str]:
    """The benchmark's queue, in any database."""
    found: list[str] = []
    with redis.client() as connection:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        for number in range(16):
            connection.select(number)
            found += [f"bench in database {number}"] if connection.exists("bench") else []
        connection.select(0)
    return found


def test_there_is_a_figure_for_each_column(redis_url: str, database_url: str, tmp_path: Path) -> None:
    environment = own_environment(redis_url, database_url, tmp_path)
    command = [*COMMAND, "--output", str(tmp_path / "results")]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "results" / "results.json").read_bytes())
    figures = [figure for part in found.values() if part for figure in part["figures"]]
    assert {figure.get("measure") or figure["axis"] for figure in figures if figure["value"] is not None} >= FIGURES
    assert "| taskiq stream |" in (tmp_path / "results" / "throughput.md").read_text()
    assert processes_of(tmp_path) == []
    assert queues_in(Redis.from_url(redis_url)) == []


def test_nothing_is_left_after_ctrl_c(redis_url: str, database_url: str, tmp_path: Path) -> None:
    environment = own_environment(redis_url, database_url, tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "--only", "running", "--tasks", "20000", "--output", str(tmp_path / "results")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + HANG
    while not any("kiqstart\0worker" in command for command in processes_of(tmp_path)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert processes_of(tmp_path) == []
    assert queues_in(Redis.from_url(redis_url)) == []
