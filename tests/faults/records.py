"""Reads a history, while tasks and senders go on writing it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.fault import Fault, Kind
from tests.faults.recorder import Event, Mark

_TRY: Final = "~"


@dataclass(kw_only=True)
class Run:
    """One execution of a task; times are seconds of the monotonic clock."""

    pid: int
    token: str = ""
    parents: tuple[int, ...] = ()
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


def attempt(name: str, tried: int) -> str:
    """What a try of a task is called: the first one like its task, which may have been tried again some times."""
    return f"{name}{_TRY}{tried}" if tried else name


def task_of(attempt: str) -> str:
    """The task that it is a try of."""
    return attempt.partition(_TRY)[0]


@dataclass(kw_only=True)
class Records:
    """The file's contents so far; `refresh` reads what is new. All but events is kept for each try of a task."""

    file: Path
    events: list[Event] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    sendings: Counter[str] = field(default_factory=Counter)
    sent: dict[str, float] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    """Accepted and not yet ended."""
    vanished: set[str] = field(default_factory=set)
    """Tasks that need not end any more: cancelled, a dead letter, gone with Redis' data."""
    managers: dict[int, int] = field(default_factory=dict)
    """The parent of each process that ever was ready: a process manager, or for a ward the worker that started it."""
    deaths: list[tuple[int, float]] = field(default_factory=list)
    """Processes that a task has killed, and when."""
    faults: list[Fault] = field(default_factory=list)
    standstills: list[Fault] = field(default_factory=list)
    """When worker processes got no core for long."""
    _open: dict[str, Run] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _offset: int = 0

    def refresh(self) -> None:
        """Read the lines that were written since the last time.

        Raises:
            ValueError: a line is no event.
        """
        with self.file.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].splitlines():
            event = Event.read(line)
            self.events.append(event)
            self._take(event)

    def workers_of(self, manager: int) -> list[int]:
        """The worker processes that a process manager has had, oldest first."""
        return [pid for pid, its_manager in self.managers.items() if its_manager == manager]

    def processes_of(self, manager: int) -> set[int]:
        """The processes that a process manager has had, with those that its workers have started."""
        return {pid for pid in self.managers if manager in self.parents_of(pid)}

    def parents_of(self, pid: int) -> tuple[int, ...]:
        """The processes that have started that one, the process manager last."""
        parents: list[int] = []
        while (parent := self.managers.get(parents[-1] if parents else pid)) is not None and parent not in parents:
            parents.append(parent)
        return tuple(parents)

    def open_runs(self, pids: set[int]) -> dict[str, Run]:
        """The runs in those processes that have begun and not ended."""
        return {name: run for name, run in self._open.items() if run.pid in pids}

    def has_ended(self, name: str) -> bool:
        """Whether any run of that try came to its end."""
        return name in self._ended

    def may_vanish(self, name: str) -> bool:
        """Whether the task of that try need not end any more."""
        return task_of(name) in self.vanished

    def _take(self, event: Event) -> None:
        name = event.id
        match event.mark:
            case Mark.READY:
                self.managers[event.pid] = int(name)
            case Mark.SENDING | Mark.DUE:
                self.sendings[name] += 1
                if event.mark is Mark.DUE:
                    self._send(name, event.at)
            case Mark.SENT:
                self._send(name, event.at)
            case Mark.START:
                self._start(event)
            case Mark.DEADLY:
                self.deaths.append((event.pid, event.at))
            case Mark.END | Mark.CUT:
                self._finish(event)
            case Mark.CANCELLING | Mark.LOOKED:
                letters = event.details.get("letters", [])
                self._vanish({name, *(letter["task"] for letter in letters)})
            case Mark.FAULT | Mark.OVER | Mark.RELIEVED | Mark.STOOD_STILL:
                self._note_fault(event)
            case _:
                pass

    def _send(self, name: str, time: float) -> None:
        self.sent.setdefault(name, time)
        if name not in self._ended and not self.may_vanish(name):
            self.waiting.add(name)

    def _start(self, event: Event) -> None:
        run = Run(pid=event.pid, token=event.details["run"], parents=self.parents_of(event.pid), start=event.at)
        tried = attempt(event.id, event.details["tried"])
        self._open[tried] = run
        self.runs[tried].append(run)

    def _finish(self, event: Event) -> None:
        tried = int(event.details["tried"])
        name = attempt(event.id, tried)
        run = next(run for run in self.runs[name] if run.token == event.details["run"])
        if self._open.get(name) is run:
            del self._open[name]
        if event.mark is Mark.CUT:
            run.cut = event.at
            return
        run.end = event.at
        self._ended.add(name)
        self.waiting.discard(name)
        if event.details["again"]:
            # From here on it is the broker's duty that it is tried again.
            following = attempt(event.id, tried + 1)
            self.sendings[following] = max(self.sendings[event.id], 1)
            self._send(following, event.at)

    def _vanish(self, tasks: set[str]) -> None:
        self.vanished |= tasks
        self.waiting = {name for name in self.waiting if task_of(name) not in tasks}

    def _note_fault(self, event: Event) -> None:
        details = event.details
        match event.mark:
            case Mark.FAULT:
                ended = event.at if details["hit"] is not None and details["kind"] != Kind.FREEZE else float("inf")
                fault = Fault(kind=Kind(details["kind"]), began=event.at, ended=ended, pid=details["hit"])
                fault.grace, fault.note = float(details["grace"]), str(details["note"])
                self.faults.append(fault)
            case Mark.STOOD_STILL:
                began = event.at - float(details["seconds"])
                self.standstills.append(Fault(kind=Kind.STARVED, began=began, ended=event.at, pid=event.pid))
            case Mark.RELIEVED:
                self.faults[int(event.id)].alone_until = event.at
            case _:
                fault = self.faults[int(event.id)]
                fault.ended = event.at
                if fault.kind is Kind.WIPE:
                    self._vanish({task_of(name) for name in self.sendings.keys() - self._open.keys()})
