"""A service whose processes each have a user of their own in Redis, with the rights of their role and no others."""

import json
from collections.abc import Generator
from typing import cast

import pytest
from tests.end_to_end.cli.in_process import Kiqstart
from tests.kiqstart.integration.redis.servers import Server, make_server, running

from kiqstart.broker.roles import Role, acl_rules
from kiqstart.broker.settings import TasksSettings
from kiqstart.testing import ProcessFactory

PREFIX = "least"
KEYS = TasksSettings(key_prefix=PREFIX).keys


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(make_server(tmp_path_factory.mktemp("server"))) as server:
        yield server


def user(server: Server, role: Role, *, without: str = "") -> dict[str, str]:
    """The environment of a process of that role, which may lack a right."""
    with server.client() as client:
        # Redis 6.2 knows no `%R~`.
        is_old = str(client.info("server")["redis_version"]).startswith("6.")
    rules = [rule.replace("%R~", "~") if is_old else rule for rule in acl_rules(role, KEYS) if rule != without]
    server.ask("ACL", "SETUSER", role, "reset", "resetchannels", "on", ">pw", *rules)
    return {"REDIS_URL": f"redis://{role}:pw@127.0.0.1:{server.port}/0", "TASKS_KEY_PREFIX": PREFIX}


def refusals(server: Server) -> list[object]:
    """What Redis has refused, but INFO, which is done without."""
    entries = cast("list[dict[bytes, bytes]]", server.ask("ACL", "LOG"))
    return [entry for entry in entries if entry[b"object"] != b"info"]


def test_they_work_together_and_are_refused_nothing(
    server: Server, worker: ProcessFactory, scheduler: ProcessFactory, kiqstart_here: Kiqstart
) -> None:
    server.ask("FLUSHALL")
    server.ask("ACL", "LOG", "RESET")
    with worker(environment=user(server, Role.WORKER)), scheduler(environment=user(server, Role.SCHEDULER)) as sending:
        operator = user(server, Role.OPERATOR)
        assert "pong" in kiqstart_here("ping", "--timeout", "20", environment=operator).out
        ran = kiqstart_here("schedules", "run", "cleanup-sessions-daily", "--wait", environment=operator)
        assert (ran.code, ran.err) == (0, "")
        [pong] = json.loads(
            kiqstart_here("runs", "list", "--json", "--task", "kiqstart.ping", environment=operator).out
        )
        shown = kiqstart_here("runs", "show", pong["task_id"], environment=operator)
        assert (shown.code, shown.err) == (0, "")
        metrics = kiqstart_here("metrics", environment=user(server, Role.MONITOR)).out
        assert f'kiqstart_workers{{service="{PREFIX}"}} 1' in metrics
        assert f'kiqstart_schedulers{{service="{PREFIX}"}} 1' in metrics
        assert "NOPERM" not in sending.log
    assert refusals(server) == []


@pytest.mark.parametrize("role", [Role.WORKER, Role.SCHEDULER])
def test_one_that_lacks_a_right_ends_at_its_start_with_one_line(
    server: Server, worker: ProcessFactory, scheduler: ProcessFactory, role: Role
) -> None:
    factory = worker if role is Role.WORKER else scheduler
    process = factory.start(environment=user(server, role, without="+zadd"))
    assert process.wait() != 0
    lines = [line for line in process.log.splitlines() if line.startswith("kiqstart: ")]
    assert len(lines) == 1, process.log
    assert "lacks rights: add +zadd with ACL SETUSER" in lines[0]
    assert "Traceback" not in process.log
