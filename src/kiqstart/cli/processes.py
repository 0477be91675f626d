"""Worker and scheduler as child processes."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

# Far more than either takes, unless a task goes on.
_SECONDS_TO_END: Final = 10.0
_SECONDS_TO_DIE: Final = 1.0
_POLL_SECONDS: Final = 0.01
_LONGEST_LINE: Final = 2**24


class ChildProcesses:
    """Python programs as children, each in a process group of its own, so that a Ctrl-C reaches only this process.

    Leaving the `async with` block ends all of them with all of their children: asked first, killed after ten seconds.

    Args:
        on_line: is given each line of output, after the name of the process that wrote it.
    """

    def __init__(self, on_line: Callable[[str, str], None]) -> None:
        self._on_line = on_line
        self._processes: dict[str, Process] = {}
        self._readers: list[asyncio.Task[None]] = []

    async def start(self, name: str, program: str, *arguments: str) -> None:
        """Run a program, which is a module such as `taskiq`, with these arguments."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", program, *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            process_group=0,
        )
        self._processes[name] = process
        self._readers.append(asyncio.create_task(self._read(name, process)))

    async def first_end(self) -> tuple[str, int]:
        """Wait until one of them ends by itself; return its name and its exit code (128 + number for a signal)."""
        waits = {asyncio.create_task(process.wait(), name=name) for name, process in self._processes.items()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        first = done.pop()
        code = first.result()
        return first.get_name(), code if code >= 0 else 128 - code

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(_end(process) for process in self._processes.values()))
        if self._readers:
            await asyncio.wait(self._readers, timeout=_SECONDS_TO_END)

    async def _read(self, name: str, process: Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            self._on_line(name, line.decode(errors="replace").rstrip())


async def _end(process: Process) -> None:
    _signal_group(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS_TO_END):
            await process.wait()
    # Also where the leader has ended: it may have been killed and have left its children.
    deadline = time.monotonic() + _SECONDS_TO_DIE
    while _signal_group(process, signal.SIGKILL) and time.monotonic() < deadline:  # noqa: ASYNC110  # no event tells of it
        await asyncio.sleep(_POLL_SECONDS)
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> bool:
    """False where the group has ended."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # the latter is what macOS says of zombies
        return False
    return True
