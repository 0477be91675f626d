"""Reads what tasks and senders have recorded, while they go on recording."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.recorder import Mark

_NANOSECONDS: Final = 1e9


@dataclass(kw_only=True)
class Run:
    """One execution of a task; times are seconds of the monotonic clock."""

    pid: int
    parents: tuple[int, ...]
    """The processes that have started that one, the process manager last; kept here, as pids are used again in time."""
    start: float
    end: float | None = None
    cut: float | None = None

    @property
    def manager(self) -> int | None:
        """The process manager."""
        return self.parents[-1] if self.parents else None

    @property
    def is_open(self) -> bool:
        """Whether it neither ended nor was cancelled, as far as its process could still tell."""
        return self.end is None and self.cut is None

    def __str__(self) -> str:
        last = f"ended {self.end:.3f}" if self.end else f"cut {self.cut:.3f}" if self.cut else "no end"
        return f"pid {self.pid}: started {self.start:.3f}, {last}"


@dataclass(kw_only=True)
class Records:
    """The file's contents so far; `refresh` reads what is new."""

    file: Path
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    sendings: Counter[str] = field(default_factory=Counter)
    sent: dict[str, float] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    """Accepted and not yet ended."""
    managers: dict[int, int] = field(default_factory=dict)
    """The parent of each process that ever was ready: a process manager, or for a ward the worker that started it."""
    deaths: list[tuple[int, float]] = field(default_factory=list)
    """Processes that a task has killed, and when."""
    _open: dict[str, Run] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _offset: int = 0

    def refresh(self) -> None:
        """Read the lines that were written since the last time."""
        with self.file.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].decode().splitlines():
            mark, name, pid, nanoseconds = line.split(" ")
            self._take(Mark(mark), name, int(pid), int(nanoseconds) / _NANOSECONDS)

    def workers_of(self, manager: int) -> list[int]:
        """The worker processes that a process manager has had, oldest first."""
        return [pid for pid, its_manager in self.managers.items() if its_manager == manager]

    def processes_of(self, manager: int) -> set[int]:
        """The processes that a process manager has had, with those that its workers have started."""
        return {pid for pid in self.managers if manager in self._parents_of(pid)}

    def _parents_of(self, pid: int) -> tuple[int, ...]:
        parents: list[int] = []
        while (parent := self.managers.get(parents[-1] if parents else pid)) is not None and parent not in parents:
            parents.append(parent)
        return tuple(parents)

    def open_runs(self, pids: set[int]) -> dict[str, Run]:
        """The runs in those processes that have begun and not ended."""
        return {name: run for name, run in self._open.items() if run.pid in pids}

    def has_ended(self, name: str) -> bool:
        """Whether any run of the task came to its end."""
        return name in self._ended

    def _take(self, mark: Mark, name: str, pid: int, time: float) -> None:
        match mark:
            case Mark.READY:
                self.managers[pid] = int(name)
            case Mark.SENDING:
                self.sendings[name] += 1
            case Mark.SENT:
                self.sent.setdefault(name, time)
                if name not in self._ended:
                    self.waiting.add(name)
            case Mark.START:
                self._open[name] = Run(pid=pid, parents=self._parents_of(pid), start=time)
                self.runs[name].append(self._open[name])
            case Mark.DEADLY:
                self.deaths.append((pid, time))
            case Mark.END | Mark.CUT:
                self._finish(mark, name, pid, time)

    def _finish(self, mark: Mark, name: str, pid: int, time: float) -> None:
        run = next(run for run in self.runs[name] if run.pid == pid and run.is_open)
        if self._open.get(name) is run:
            del self._open[name]
        if mark is Mark.END:
            run.end = time
            self._ended.add(name)
            self.waiting.discard(name)
        else:
            run.cut = time
