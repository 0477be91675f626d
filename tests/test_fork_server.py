"""What the server forks begins as a process that is started does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory, run_forked
from tests.planted_secrets import REDIS_PASSWORD

PROGRAM = """
import json, os, signal, sys

applications = [name for name in sys.modules if name.startswith(("todo_service", "tests.end_to_end"))]
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD)]
links = [os.path.realpath(f"/proc/self/fd/{number}") for number in range(100)]
said = {
    "arguments": sys.argv,
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "path": sys.path[:2],
    "leads": os.getsid(0) == os.getpid(),
    "sockets": [link for link in links if "socket:" in link],
    "signals": handlers == [signal.default_int_handler, signal.SIG_DFL],
    "applications": applications,
    "read": sys.stdin.read(),
}
print(json.dumps(said))
print("to standard error", file=sys.stderr)
sys.exit(3)
"""


def test_it_has_what_it_is_given_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    environment = {"ONE": "1", "PYTHONPATH": "further"}
    command = [sys.executable, "-c", PROGRAM, "first", "-x"]
    done = run_forked(command, environment=environment, folder=tmp_path, stdin="typed", timeout=HANG)
    assert (done.returncode, done.stderr) == (3, "to standard error\n")
    assert json.loads(done.stdout) == {
        "arguments": ["-c", "first", "-x"],
        "environment": environment,
        "folder": str(tmp_path),
        "path": [str(tmp_path), "further"],
        "leads": True,
        "sockets": [],
        "signals": True,
        "applications": [],
        "read": "typed",
    }


def test_it_is_waited_for_and_ends_by_signals(tmp_path: Path) -> None:
    program = "import time; print('up', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", program]
    factory = ForkingFactory(command=command, environment={}, ready="up", log_folder=tmp_path)
    with factory() as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert process.is_running
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(HANG) == -signal.SIGKILL
        assert not process.is_running


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_it_prints_is_looked_through_for_planted_secrets(tmp_path: Path, stream: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.{stream}.write({REDIS_PASSWORD!r})"]
    with pytest.raises(AssertionError, match="a secret is printed"):
        run_forked(command, environment={}, folder=tmp_path, timeout=HANG)
