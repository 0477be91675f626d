import os
import pty
import subprocess
import sys
import time

from tests.deadlines import HANG
from tests.end_to_end.cli.command_line import KIQSTART, CommandLine
from tests.end_to_end.cli.in_process import Kiqstart

from kiqstart.testing import ProcessFactory

# Makes standard input the controlling terminal, which turns ^C into a signal.
ON_TERMINAL = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"

# In pieces, so that what is typed and echoed is not what is waited for.
WAIT = """\
async def wait():
    print("wai" + "ting")
    try:
        await asyncio.sleep(600)
    finally:
        print("can" + "celled")

"""


def test_lines_from_a_pipe_send_tasks(kiqstart: CommandLine, worker: ProcessFactory) -> None:
    lines = """\
task = await registry.session_cleanup.kiq(days_old=7)
(await task.wait_result(timeout=200)).return_value["deleted_count"]
"""
    with worker():
        done = kiqstart.run("shell", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"


def test_services_work_at_the_top_level(kiqstart_on_database: Kiqstart) -> None:
    lines = """\
users = container.resolve(UserService)
for name in ("ada", "bob"):
    await users.create(username=name, email=f"{name}@example.com")

[user.username for user in await users.list_active()]
"""
    done = kiqstart_on_database("shell", stdin=lines)
    assert done.out.splitlines()[-1] == "['ada', 'bob']", done.err


def test_the_first_line_that_raises_ends_it(kiqstart_on_database: Kiqstart) -> None:
    done = kiqstart_on_database(
        "shell", stdin="print(1)\nawait registry.session_cleanup.kiq(days_old='soon')\nprint(2)\n"
    )
    assert done.code == 1
    assert done.out == "1\n"
    assert "session.cleanup: argument days_old" in done.err
    assert "delivery/cli" not in done.err


def test_a_syntax_error_ends_it(kiqstart_on_database: Kiqstart) -> None:
    done = kiqstart_on_database("shell", stdin="a b\nprint(2)\n")
    assert done.code == 1
    assert "SyntaxError" in done.err
    assert done.out == ""


def test_what_still_runs_at_the_end_is_cancelled(kiqstart_on_database: Kiqstart) -> None:
    done = kiqstart_on_database("shell", stdin="background = asyncio.create_task(asyncio.sleep(600))\n")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_an_exit_code_can_be_chosen(kiqstart_on_database: Kiqstart) -> None:
    assert kiqstart_on_database("shell", stdin="exit(5)\n").code == 5


class Terminal:
    """A shell on a terminal."""

    def __init__(self, kiqstart: CommandLine) -> None:
        self._fd, end = pty.openpty()
        os.set_blocking(self._fd, False)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, KIQSTART, "shell"],
            env={**os.environ, **kiqstart.environment, "TERM": "dumb"},
            cwd=kiqstart.folder,
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + HANG
        while text not in self._seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self._seen!r}"
            try:
                self._seen += os.read(self._fd, 4096).decode()
            except BlockingIOError:
                time.sleep(0.02)
        self._seen = self._seen.partition(text)[2]


def test_the_prompt_greets_and_outlives_ctrl_c(kiqstart: CommandLine) -> None:
    terminal = Terminal(kiqstart)
    try:
        terminal.expect("session_cleanup")
        terminal.expect(">>> ")
        terminal.type(WAIT)
        terminal.type("await wait()\n")
        terminal.expect("waiting")
        terminal.type("\x03")
        terminal.expect("cancelled")
        terminal.expect(">>> ")
        terminal.type("6 * await asyncio.sleep(0, 7)\n")
        terminal.expect("42")
        terminal.type("\x04")
        assert terminal.process.wait(HANG) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
