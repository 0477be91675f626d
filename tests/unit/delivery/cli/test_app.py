import subprocess
import sys

HEAVY = ("sqlalchemy", "taskiq", "alembic", "redis", "rich", "pydantic", "structlog", "asyncio")


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from kiqstart.delivery.cli.app import app
try:
    app(["--help"])
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
