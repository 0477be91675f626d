"""A contestant's worker: processes that run its tasks."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.process_tree import cpu_seconds, proportional_bytes, resident_bytes
from benchmarks.throughput.contestants import Installed
from benchmarks.throughput.peers.protocol import TALLY, Description
from benchmarks.throughput.peers.tally import TallyReader

_PROCESSES: Final = "{processes}"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Commands that run, each with its children in a session of its own, and what their tasks are counted with."""

    commands: Sequence[subprocess.Popen[bytes]]
    log: Path
    tally: TallyReader

    def has_ended(self) -> bool:
        """Whether one of the commands has ended."""
        return any(command.poll() is not None for command in self.commands)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return sum(cpu_seconds(command.pid) for command in self.commands)

    def resident_bytes(self) -> int:
        """Resident memory; what processes share counts for each."""
        return sum(resident_bytes(command.pid) for command in self.commands)

    def proportional_bytes(self) -> int:
        """Resident memory; what processes share is divided by their number."""
        return sum(proportional_bytes(command.pid) for command in self.commands)


@contextmanager
def running_worker(
    contestant: Installed,
    description: Description,
    environment: Mapping[str, str],
    log_folder: Path,
    *,
    processes: int,
    options: Sequence[str] = (),
) -> Generator[Worker]:
    """Start a worker of so many processes, with further options, and kill it at the end."""
    name = f"{contestant.peer}-{uuid4().hex}"
    tally = log_folder / f"{name}-tally"
    tally.mkdir()
    log_file = log_folder / f"{name}.log"
    arguments = [one.replace(_PROCESSES, str(processes)) for one in description.worker]
    # Where a worker is always one process, so many are started.
    count = 1 if _PROCESSES in description.worker else processes
    commands: list[subprocess.Popen[bytes]] = []
    with log_file.open("wb") as log:
        try:
            for _ in range(count):
                commands.append(  # noqa: PERF401 - those that were started are ended, also if the next cannot be
                    subprocess.Popen(
                        [contestant.interpreter, *arguments, *options],
                        cwd=contestant.folder,
                        env={**os.environ, **environment, TALLY: str(tally)},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
            yield Worker(commands=commands, log=log_file, tally=TallyReader(tally))
        finally:
            for command in commands:
                # Its group has its children too, also where it has ended itself.
                with suppress(ProcessLookupError):
                    os.killpg(command.pid, signal.SIGKILL)
                command.wait()
