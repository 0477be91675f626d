"""Which servers a test session starts."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[4]
_TEST = """
import os

def test_it_has_a_redis(redis_url, servers):
    assert redis_url == os.environ["REDIS_URL"]
    assert servers.postgres_url is None
"""


def test_an_application_without_a_database_needs_no_postgresql(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["kiqstart.testing.plugin"]\n')
    (tmp_path / "test_redis.py").write_text(_TEST)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=_ROOT,
        env={
            **environment,
            "REDIS_URL": redis_url,
            "KIQSTART_APP": "tests.kiqstart.integration.testing.small_app:create_app",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "PostgreSQL" not in done.stdout
