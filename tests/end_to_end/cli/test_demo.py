import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
from tests.end_to_end.cli.command_line import CommandLine

from kiqstart.testing import ServiceProcess

TABLE_ROW = re.compile(r"^ *(sessions|todos), by [a-z ]+? +([\d,]+) +([\d,]+) +([\d,]+) ", re.MULTILINE)


@pytest.fixture
def demo(kiqstart: CommandLine) -> CommandLine:
    return replace(kiqstart, program=(sys.executable, "-m", "todo_service.demo"))


async def databases_of(demo: ServiceProcess, engine: AsyncEngine) -> list[str]:
    pattern = rf"kiqstart\_demo\_{demo.pid}\_%"
    async with engine.connect() as connection:
        names = await connection.scalars(
            text("SELECT datname FROM pg_database WHERE datname LIKE :name"), {"name": pattern}
        )
        return list(names)


def keys_of(demo: ServiceProcess, redis_url: str) -> set[bytes]:
    with Redis.from_url(redis_url) as redis:
        found: Iterator[bytes] = redis.scan_iter(f"*kiqstart-demo-{demo.pid}-*")  # pyright: ignore[reportUnknownVariableType]  # redis-py leaves it open
        return set(found)


async def leaves_nothing(demo: ServiceProcess, engine: AsyncEngine, redis_url: str) -> None:
    assert "Traceback" not in demo.log
    assert await databases_of(demo, engine) == []
    assert keys_of(demo, redis_url) == set()


def figures(log: str) -> list[tuple[str, ...]]:
    return [match.groups() for match in TABLE_ROW.finditer(log)]


# Beside the 2,000 rows to delete and the 2,000 to keep: a session that lives and a todo that is completed.
EXPECTED = [
    ("sessions", "800", "800", "1,201"),
    ("todos", "1,001", "1,001", "1,000"),
    ("sessions", "200", "200", "1,001"),
]


async def test_it_ends_with_figures_that_are_right_to_the_row(
    demo: CommandLine, engine: AsyncEngine, redis_url: str
) -> None:
    picture = demo.folder / "demo.svg"
    with demo.start("--rows", "2000", "--svg", str(picture)) as process:
        process.wait_for_log("by hand: ", timeout=HANG)
        assert len(await databases_of(process, engine)) == 1
        assert keys_of(process, redis_url)
        assert process.wait(HANG) == 0, process.log
        assert figures(process.log) == EXPECTED
        assert "scheduler: session.cleanup, due at " in process.log
        assert "scheduler: ping, due at " in process.log
    assert await databases_of(process, engine) == []
    assert keys_of(process, redis_url) == set()
    drawing = picture.read_text()
    assert "sessions&#160;deleted" in drawing
    assert str(Path.home()) not in drawing
    assert str(demo.folder) not in drawing


def test_without_redis_it_runs_in_one_process(demo: CommandLine) -> None:
    done = demo.run("--rows", "2000", environment={"REDIS_URL": "memory://"})
    assert done.returncode == 0, done.stderr
    assert "InMemoryBroker runs the tasks in this process" in done.stdout
    assert figures(done.stdout) == EXPECTED
    refused = demo.run("--rows", "2000", "--dashboard", environment={"REDIS_URL": "memory://"})
    assert refused.returncode == 1
    assert refused.stderr.endswith("\nkiqstart: --dashboard shows what is in Redis, and there is none\n")


async def test_it_stays_up_with_a_dashboard_that_is_asked_for_and_leaves_nothing_when_it_is_interrupted(
    demo: CommandLine, engine: AsyncEngine, redis_url: str
) -> None:
    with demo.start("--rows", "2000", "--dashboard") as process:
        process.wait_for_log("Ctrl-C ends it.", timeout=HANG)
        [address] = set(re.findall(r"The dashboard is at (http://127\.0\.0\.1:\d+)", process.log))
        page = await asyncio.to_thread(httpx.get, address, follow_redirects=True, timeout=HANG)
        assert "Log in" in page.text
        # Its scheduler runs, too.
        assert "scheduler: ping, due at " in process.log
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(HANG) == 128 + signal.SIGINT, process.log
    await leaves_nothing(process, engine, redis_url)


@pytest.mark.parametrize(
    ("moment", "number", "times"),
    [
        ("kiqstart demo", signal.SIGINT, 1),
        ("PostgreSQL", signal.SIGTERM, 1),
        ("refresh sessions", signal.SIGINT, 2),
        ("by hand: ", signal.SIGHUP, 1),
    ],
)
async def test_an_interrupted_run_leaves_nothing(
    demo: CommandLine, engine: AsyncEngine, redis_url: str, moment: str, number: signal.Signals, times: int
) -> None:
    with demo.start("--rows", "2000") as process:
        process.wait_for_log(moment, timeout=HANG)
        for _ in range(times):
            os.killpg(process.pid, number)
        assert process.wait(HANG) == 128 + number, process.log
    await leaves_nothing(process, engine, redis_url)


def test_a_folder_that_is_not_there_is_one_line(demo: CommandLine) -> None:
    done = demo.run("--svg", "nowhere/demo.svg")
    assert done.returncode == 1
    assert done.stderr == "kiqstart: --svg: there is no folder nowhere\n"


def test_an_unreachable_database_is_one_line(demo: CommandLine) -> None:
    done = demo.run(environment={"DATABASE_URL": "postgresql://me@127.0.0.1:1/x"})
    assert done.returncode == 1
    assert done.stderr.startswith("kiqstart: cannot reach PostgreSQL at 127.0.0.1:1/x")
