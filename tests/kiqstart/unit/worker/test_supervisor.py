import subprocess
import sys

HEAVY = ("aiohttp", "asyncio", "multiprocessing", "pydantic", "redis", "taskiq", "typer")


def test_the_parent_of_several_workers_imports_nothing_heavy() -> None:
    program = f"""
import sys
from kiqstart.cli import main
from kiqstart.worker import supervisor
supervisor.Group.run = lambda self: print([name for name in {HEAVY!r} if name in sys.modules]) or 3
sys.argv = ["kiqstart", "worker", "--workers", "2"]
main.run_command()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert (done.returncode, done.stdout.strip()) == (3, "[]")
