"""Traces across real processes: a program that sends, a scheduler, a worker."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.deadlines import HANG
from tests.fork_server.client import start_anew

from kiqstart import TracingMiddleware
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import kiqstart_command
from todo_service.core.session.models import RefreshSession
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.registry import TasksRegistry

ROOT = Path(__file__).parents[2]
# No process has OpenTelemetry unless it is told so.
BESIDE = str(ROOT / ".local/beside")
PAGE = (ROOT / "docs/traces-and-logs.md").read_text()
Span = Mapping[str, Any]


class Traces:
    """What all processes have exported so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Span]:
        lines = [line for path in self.folder.glob("*.jsonl") for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    async def first(self, name: str, matches: Callable[[Span], bool] = lambda _: True) -> Span:
        """Wait for a span."""
        found: list[Span] = []

        async def is_there() -> bool:
            found[:] = [span for span in self.all() if span["name"] == name and matches(span)]
            return bool(found)

        await eventually(is_there)
        return found[0]


@pytest.fixture
def traces(tmp_path: Path) -> Traces:
    folder = tmp_path / "traces"
    folder.mkdir()
    return Traces(folder)


def traced(process: ProcessFactory, traces: Traces, name: str) -> ProcessFactory:
    path = os.pathsep.join(filter(None, [BESIDE, process.environment.get("PYTHONPATH")]))
    app = f"todo_service.delivery.tasks.app:{name}"
    return replace(
        start_anew(process),
        command=[part.replace(app, f"tests.end_to_end.apps.traced:{name}") for part in process.command],
        environment={**process.environment, "TASKS_TRACING": "true", "TRACES": str(traces.folder), "PYTHONPATH": path},
    )


async def add_expired_sessions(
    users: UserService, session_factory: async_sessionmaker[AsyncSession], count: int
) -> None:
    user = await users.create(username="ada", email="ada@example.org")
    long_ago = datetime.now(UTC) - timedelta(days=60)
    async with session_factory.begin() as session:
        session.add_all(
            RefreshSession(
                user_id=user.id,
                refresh_token_hash=token_bytes(32),
                user_agent="test",
                created_at=long_ago - timedelta(days=30),
                last_used_at=long_ago - timedelta(days=30),
                expires_at=long_ago,
            )
            for _ in range(count)
        )


async def test_a_request_leads_to_the_batches_of_its_clean_up(
    registry: TasksRegistry,
    users: UserService,
    session_factory: async_sessionmaker[AsyncSession],
    taskiq_worker: ProcessFactory,
    traces: Traces,
) -> None:
    await add_expired_sessions(users, session_factory, 30)
    provider = TracerProvider()
    registry.broker.add_middlewares(TracingMiddleware(provider))
    with traced(taskiq_worker, traces, "broker")():
        with provider.get_tracer("web").start_as_current_span("request") as request:
            task = await registry.session_cleanup.kiq(days_old=0)
        assert (await task.result(timeout=HANG))["deleted_count"] == 30
        process = await traces.first("process session.cleanup")
    trace_id = f"0x{request.get_span_context().trace_id:032x}"
    run = await traces.first("retention.run expired_sessions")
    batch = await traces.first("retention.batch expired_sessions", lambda span: has(span, "rows") == 30)
    assert {span["context"]["trace_id"] for span in (process, run, batch)} == {trace_id}
    assert run["parent_id"] == process["context"]["span_id"]
    assert batch["parent_id"] == run["context"]["span_id"]
    assert (has(run, "rows"), has(run, "stopped")) == (30, "end")
    assert has(batch, "seconds") > 0
    assert process["attributes"]["kiqstart.outcome"] == "succeeded"


def has(span: Span, name: str) -> Any:  # noqa: ANN401  # an attribute's value
    return span["attributes"].get(f"kiqstart.retention.{name}")


async def test_a_schedules_send_begins_the_trace_of_its_run(
    registry: TasksRegistry, taskiq_worker: ProcessFactory, taskiq_scheduler: ProcessFactory, traces: Traces
) -> None:
    del registry  # its broker is closed after the worker
    with traced(taskiq_worker, traces, "broker")(), traced(taskiq_scheduler, traces, "scheduler")():
        run = await traces.first("process ping")
    send = await traces.first("send ping", lambda span: span["context"]["span_id"] == run["parent_id"])
    assert send["parent_id"] is None
    assert send["context"]["trace_id"] == run["context"]["trace_id"]
    assert (send["kind"], run["kind"]) == ("SpanKind.PRODUCER", "SpanKind.CONSUMER")
    assert send["attributes"]["messaging.message.id"] == run["attributes"]["messaging.message.id"]
    assert send["attributes"]["kiqstart.schedule"] == run["attributes"]["kiqstart.schedule"] == "tick"


def test_the_documented_program_makes_one_trace(tmp_path: Path, redis_url: str, key_prefix: str) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "photos.py").write_text(program.replace('queue_name="photos"', f'queue_name="{key_prefix}"'))
    environment = {"REDIS_URL": redis_url, "PYTHONPATH": os.pathsep.join([str(tmp_path), BESIDE])}
    assert re.findall(r"^(kiqstart worker|python) (photos\S+)$", PAGE, re.MULTILINE) == [
        ("kiqstart worker", "photos:broker"),
        ("python", "photos.py"),
    ]
    worker = ProcessFactory(
        command=kiqstart_command("worker", "photos:broker"),
        environment=environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )
    with worker() as process:
        ran = subprocess.run(
            [sys.executable, "photos.py"],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
    assert "photo 7, smaller" in ran.stdout, ran.stderr
    ids = re.compile(r'"name": "([^"]+)",\s+"context": \{\s+"trace_id": "(0x\w+)"')
    found = dict(ids.findall(process.log) + ids.findall(ran.stdout))
    assert set(found) == {"process photo.resize", "shrink", "send photo.resize", "POST /photos"}
    assert len(set(found.values())) == 1
