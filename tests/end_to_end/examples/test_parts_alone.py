"""The broker alone in a plain taskiq project, and the retention engine alone in a FastAPI app."""

import subprocess
from collections.abc import Callable

from tests.end_to_end.examples.environment import EXAMPLES, Example, check_imports

CLEAN_UP = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from app import Base, Event, app, engine
from fastapi.testclient import TestClient
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

async def fill():
    own = create_async_engine(engine.url)
    async with own.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        times = [datetime.now(UTC) - timedelta(days=days) for days in (1, 100, 200)]
        await connection.execute(insert(Event), [{"happened_at": time} for time in times])
    await own.dispose()

asyncio.run(fill())
with TestClient(app) as client:
    print(client.get("/cleanups").json()["rows"])
    print(client.post("/cleanups").json()["deleted"], client.get("/cleanups").json()["rows"])
print([name for name in ("taskiq", "redis", "aioinject", "typer", "structlog") if name in sys.modules])
"""


def test_the_broker_alone_runs_the_tasks_of_a_plain_taskiq_project(example: Callable[[str], Example]) -> None:
    check_imports(EXAMPLES / "broker_only")
    mail = example("broker_only")
    with subprocess.Popen(
        mail.command("taskiq", "worker", "--workers", "1", "mail:broker"),
        cwd=mail.folder,
        env=mail.variables,
        stderr=subprocess.DEVNULL,
    ) as worker:
        assert mail.output_of("python", "mail.py", "ada@example.org") == "sent to ada@example.org\n"
        assert "pong" in mail.output_of("kiqstart", "--app", "mail:broker", "ping", "--timeout", "30")
        mail.output_of("kiqstart", "--app", "mail:broker", "dead", "list")
        worker.terminate()


def test_the_retention_engine_alone_cleans_up_for_a_web_app(example: Callable[[str], Example]) -> None:
    check_imports(EXAMPLES / "retention_only")
    assert example("retention_only").output_of("python", "-c", CLEAN_UP) == "2\n2 0\n[]\n"
