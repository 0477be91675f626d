"""Groups of worker processes, to be killed, frozen and asked to end."""

import asyncio
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.faults.fault import Fault, Faults, Kind
from tests.faults.guardian import Guardian, kill_group
from tests.faults.records import Records, Run

from kiqstart.testing import ServiceProcess, eventually

SECONDS_TO_EXIT: Final = 3.0
"""So much a worker may take to end once its tasks have; far less is usual, but not where all cores are busy."""
_SECONDS_TO_START: Final = 30.0
_SECONDS_BETWEEN_LOOKS: Final = 0.01


class WorkerGroup:
    """A process manager with its worker processes, as `taskiq worker` starts them."""

    def __init__(
        self, process: ServiceProcess, *, records: Records, faults: Faults, guardian: Guardian, grace: float
    ) -> None:
        self._process = process
        self._records = records
        self._faults = faults
        self._guardian = guardian
        self._grace = grace
        self._is_discarded = False
        guardian.guard(process.pid)

    @property
    def pid(self) -> int:
        """The process manager."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it and its workers have written."""
        return self._process.log

    def workers(self) -> list[int]:
        """The worker processes that are up."""
        self._records.refresh()
        return [pid for pid in self._records.workers_of(self.pid) if not has_exited(pid)]

    def running(self) -> dict[str, Run]:
        """The tasks that its workers run now, or their wards."""
        self._records.refresh()
        return self._records.open_runs({pid for pid in self._records.processes_of(self.pid) if not has_exited(pid)})

    async def wait_until_ready(self, processes: int) -> None:
        """Wait until so many worker processes are up."""

        async def are_up() -> bool:
            return len(self.workers()) >= processes

        await eventually(are_up, within=_SECONDS_TO_START)

    async def wait_for_log(self, text: str) -> None:
        """Wait until it has written that."""
        await asyncio.to_thread(self._process.wait_for_log, text)

    async def wait_until_running(self, tasks: int, *, of: str = "", within: float = _SECONDS_TO_START) -> None:
        """Wait until its workers run at least so many tasks at once, whose names begin with `of`."""

        async def are_running() -> bool:
            return sum(name.startswith(of) for name in self.running()) >= tasks

        await eventually(are_running, within=within)

    def kill(self) -> Fault:
        """`kill -9` it with all its workers."""
        fault = self._faults.add(Kind.KILL, self.pid, note="the whole group")
        kill_group(self.pid)
        self._process.kill()
        return fault

    def kill_worker(self) -> Fault:
        """`kill -9` the worker process with the most running tasks; its manager starts another."""
        busy = [run.pid for run in self.running().values()]
        worker = max(self.workers(), key=busy.count)
        fault = self._faults.add(Kind.KILL, worker, note="a worker process")
        os.kill(worker, signal.SIGKILL)
        return fault

    def kill_manager(self) -> Fault:
        """`kill -9` the process manager alone; its workers may take that for a SIGTERM."""
        fault = self._faults.add(Kind.TERM, self.pid, grace=self._grace, note="the process manager was killed")
        self._process.send_signal(signal.SIGKILL)
        return fault

    def terminate(self) -> Fault:
        """Ask it to end (SIGTERM)."""
        fault = self._faults.add(Kind.TERM, self.pid, grace=self._grace)
        self._process.send_signal(signal.SIGTERM)
        return fault

    def terminate_worker(self, worker: int) -> Fault:
        """Ask one worker process to end (SIGTERM)."""
        fault = self._faults.add(Kind.TERM, worker, grace=self._grace)
        os.kill(worker, signal.SIGTERM)
        return fault

    @contextmanager
    def frozen(self) -> Generator[Fault]:
        """Let all its processes be frozen within the `with` block."""
        with self._faults.lasting(Kind.FREEZE, self.pid) as fault:
            os.killpg(self.pid, signal.SIGSTOP)
            try:
                yield fault
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGCONT)

    async def wait_until_gone(self, *, within: float) -> float:
        """Wait until all its processes have ended, and give the seconds that took.

        Raises:
            TimeoutError: some have not.
        """
        began = time.monotonic()

        async def is_gone() -> bool:
            return not self._process.is_running

        await eventually(is_gone, within=within)
        return time.monotonic() - began

    def discard(self) -> None:
        """Kill what is left of it."""
        if self._is_discarded:
            return
        self._is_discarded = True
        if self._process.is_running:
            kill_group(self.pid)
        self._process.kill()
        self._guardian.release(self.pid)


async def wait_until_exited(pid: int, *, within: float) -> float:
    """Wait until a process has ended, and give the seconds that took it, but for those in which it had no core.

    Raises:
        TimeoutError: it has not.
    """
    began, waited_before = time.monotonic(), _seconds_without_core(pid)
    waited = waited_before
    async with asyncio.timeout(within):
        while not has_exited(pid):
            waited = max(waited, _seconds_without_core(pid))
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    return time.monotonic() - began - (waited - waited_before)


def has_exited(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {"Z", "X"}


def _seconds_without_core(pid: int) -> float:
    """For how long the process could have run while others had the cores; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
