from collections.abc import Generator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.redis.servers import (
    ESCAPED_PASSWORD,
    PASSWORD,
    Server,
    cluster,
    cluster_url,
    make_server,
    running,
    sentinel_group,
)

DURABLE = ("--appendonly", "yes")


def look(kiqstart_here: Kiqstart, url: str) -> tuple[int, dict[str, str]]:
    """The exit code, and what was found of each subject."""
    done = kiqstart_here("doctor", environment={"REDIS_URL": url})
    assert done.err == ""
    lines = (line.split(maxsplit=2) for line in done.out.splitlines())
    return done.code, {subject: f"{mark} {text}" for mark, subject, text in lines}


def look_at(kiqstart_here: Kiqstart, server: AbstractContextManager[Server]) -> tuple[int, dict[str, str]]:
    with server as started:
        return look(kiqstart_here, f"redis://127.0.0.1:{started.port}")


def test_a_sound_redis_has_no_warning(kiqstart_here: Kiqstart, tmp_path: Path) -> None:
    code, found = look_at(kiqstart_here, running(make_server(tmp_path, *DURABLE)))
    assert code == 0
    assert list(found) == ["version", "appendonly", "appendfsync", "maxmemory-policy", "memory", "user"]
    assert {text.split()[0] for text in found.values()} == {"ok"}


def test_a_redis_that_may_lose_tasks_is_exit_code_1(kiqstart_here: Kiqstart, tmp_path: Path) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    code, found = look_at(kiqstart_here, running(make_server(tmp_path, *options)))
    assert code == 1
    assert "`appendonly yes`" in found["appendonly"]
    assert found["maxmemory-policy"].startswith("warn is allkeys-lru: for want of memory tasks may be dropped")
    assert found["memory"].endswith("used of 100.0 MiB")


@pytest.mark.parametrize(
    ("options", "code", "subject", "text"),
    [
        (("--appendfsync", "no"), 1, "appendfsync", "warn is no: a crash of the machine"),
        (("--maxmemory-policy", "allkeys-lru"), 1, "maxmemory-policy", "warn is allkeys-lru: once maxmemory is set,"),
        (("--maxmemory-policy", "volatile-ttl"), 0, "maxmemory-policy", "warn is volatile-ttl: for want of memory res"),
        (("--maxmemory", "1mb"), 0, "memory", "warn "),
        (("--rename-command", "CONFIG", ""), 0, "CONFIG", "warn is not allowed to this user"),
    ],
)
def test_each_risk_is_named(
    kiqstart_here: Kiqstart, tmp_path: Path, options: tuple[str, ...], code: int, subject: str, text: str
) -> None:
    found_code, found = look_at(kiqstart_here, running(make_server(tmp_path, *DURABLE, *options)))
    assert found_code == code
    assert found[subject].startswith(text)


@pytest.fixture
def managed(tmp_path: Path) -> Generator[str]:
    """The URL of a Redis whose user may not use CONFIG."""
    with running(make_server(tmp_path)) as server:
        with server.client() as client:
            client.acl_setuser(
                "me", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=["-config"]
            )
        yield f"redis://me:secret@127.0.0.1:{server.port}"


def test_what_a_managed_redis_hides_does_not_hide_the_rest(kiqstart_here: Kiqstart, managed: str) -> None:
    code, found = look(kiqstart_here, managed)
    assert code == 1
    assert found["CONFIG"].startswith("warn is not allowed to this user")
    assert found["appendonly"].startswith("warn is no")


def test_replicas_without_a_minimum_are_a_risk(kiqstart_here: Kiqstart, tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        _, found = look(kiqstart_here, group.url)
    assert found["replication"].startswith("warn 1 replicas, min-replicas-to-write is 0")


def test_each_master_of_a_cluster_is_looked_at(kiqstart_here: Kiqstart, tmp_path: Path) -> None:
    with cluster(tmp_path, password=PASSWORD) as nodes:
        url = cluster_url(nodes, credentials=f":{ESCAPED_PASSWORD}@")
        done = kiqstart_here("doctor", environment={"REDIS_URL": url})
    assert done.code == 1
    for node in nodes:
        assert f"`appendonly yes` in its configuration (127.0.0.1:{node.port})" in done.out


def test_a_redis_that_is_not_there_is_one_line(kiqstart_here: Kiqstart) -> None:
    done = kiqstart_here("doctor", environment={"REDIS_URL": "sentinel://:hunter2@127.0.0.1:1/main"})
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("kiqstart: cannot use Redis at sentinel://127.0.0.1:1/main (REDIS_URL): no Sentinel")
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def test_tasks_in_memory_are_not_kept(kiqstart_here: Kiqstart) -> None:
    code, found = look(kiqstart_here, "memory://")
    assert code == 1
    assert found["memory://"].startswith("warn tasks end with the program")


def test_what_the_user_may_not_do_is_named(kiqstart_here: Kiqstart, tmp_path: Path) -> None:
    with running(make_server(tmp_path, *DURABLE)) as server:
        server.ask("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all")
        code, found = look(kiqstart_here, f"redis://deaf:pw@127.0.0.1:{server.port}")
        assert code == 0
        assert found["user"].startswith("warn lacks rights: add &{kiqstart-test-")
        server.ask("ACL", "SETUSER", "deaf", "-info")
        refused = kiqstart_here("doctor", environment={"REDIS_URL": f"redis://deaf:pw@127.0.0.1:{server.port}"})
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("kiqstart: the user of REDIS_URL may not run INFO, which doctor reads: ")
    assert refused.err.count("\n") == 1
