"""Kills what the suite has started if the suite itself dies, however it dies.

Run as a process of its own: `+<pid>` and `-<pid>` on standard input put a process group under guard and release it; at
the end of the input all groups under guard are killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


class Guardian:
    """The suite's end of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def guard(self, group: int) -> None:
        """Have a process group killed should the suite die."""
        self._tell(f"+{group}")

    def release(self, group: int) -> None:
        """Forget a process group that is gone."""
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


@contextmanager
def guardian() -> Generator[Guardian]:
    """Run a guardian as long as the `with` block lasts."""
    command = [sys.executable, "-S", str(Path(__file__))]
    # In a session of its own, so that a Ctrl-C does not reach it.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield Guardian(process)
    finally:
        process.communicate()


def kill_group(group: int) -> None:
    """`kill -9` a process group, if it is still there."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _main() -> None:
    guarded: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            guarded.add(group)
        else:
            guarded.discard(group)
    for group in guarded:
        kill_group(group)


if __name__ == "__main__":
    _main()
