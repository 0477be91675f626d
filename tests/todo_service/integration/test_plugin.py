"""The plugin's fixtures on the service, in a session of their own."""

import os
import subprocess
import sys
from pathlib import Path

APP = """
import os

from todo_service.ioc.app import create_app as create_service


def create_app():
    assert "DATABASE_URL" in os.environ
    return create_service()
"""
TESTS = """
pytest_plugins = ["kiqstart.testing.plugin"]


async def test_inline(inline):
    task = await inline.todo_cleanup.kiq()
    assert (await task.result(timeout=200))["todos_deleted"] == 0


async def test_queues(registry, enqueued, drain):
    task = await registry.session_cleanup.kiq(days_old=7)
    await enqueued(registry.session_cleanup, days_old=7)
    await drain()
    assert (await task.result(timeout=200))["deleted_count"] == 0
"""


def test_the_fixtures_work_in_any_order_and_no_server_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "test_service.py").write_text(TESTS)
    options = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path))
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "KIQSTART_APP": "app:create_app"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in outcome.stdout, outcome.stdout
