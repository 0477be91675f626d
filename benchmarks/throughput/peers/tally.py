"""How many tasks a worker's process has run: a number in a file of its own, which others read while it grows."""

import mmap
import os
import struct
from pathlib import Path
from threading import Lock
from typing import Final

from benchmarks.throughput.peers.protocol import TALLY

_NUMBER: Final = struct.Struct("=Q")


class _Tally:
    """The tally of this process. A process that forks starts its own with its first task."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._shared: mmap.mmap | None = None

    def add(self) -> None:
        """Count a task that runs."""
        with self._lock:
            if self._shared is None:
                self._shared = _shared_number(Path(os.environ[TALLY], str(os.getpid())))
            self._count += 1
            _NUMBER.pack_into(self._shared, 0, self._count)


def _shared_number(file: Path) -> mmap.mmap:
    file.write_bytes(_NUMBER.pack(0))
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), _NUMBER.size)


class TallyReader:
    """The tallies of all processes of a run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, mmap.mmap] = {}

    def processes(self) -> int:
        """How many processes have run a task."""
        for file in self._folder.iterdir():
            if file.name not in self._numbers and file.stat().st_size == _NUMBER.size:
                with file.open("rb") as opened:
                    self._numbers[file.name] = mmap.mmap(opened.fileno(), _NUMBER.size, access=mmap.ACCESS_READ)
        return len(self._numbers)

    def count(self) -> int:
        """How many tasks were run by the processes that `processes` has seen."""
        return sum(_NUMBER.unpack_from(number)[0] for number in self._numbers.values())


_tally = _Tally()
count_run = _tally.add
