"""Plays a recorded history to the model of what is promised."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, cast

from tests.faults.checker import Checker
from tests.faults.fault import Kind
from tests.faults.look import Look
from tests.faults.recorder import Event, Mark
from tests.faults.records import Records
from tests.faults.records import Run as RecordedRun
from tests.invariants.facts import Behaviour, Breach, Found, Left, Process, Run, Sent
from tests.invariants.model import Model

# For so long a mark of a cancelled id lasts at least: no scenario takes longer.
_SECONDS_OF_A_MARK: Final = 20 * 3600.0
_GONE: Final = frozenset({"delayed", "waiting", "running"})
_UNKNOWN_RUN: Final = "unknown"


@dataclass(kw_only=True, eq=False)
class _Process:
    """A process of the history."""

    pid: int
    parents: tuple[int, ...]
    is_dead: bool = False

    @property
    def name(self) -> str:
        return f"pid {self.pid}"


@dataclass(kw_only=True)
class Replay:
    """One history, told to the model in the order of its times.

    Args:
        records: the history.
        checker: knows which faults may have given a run's task to another worker.
    """

    records: Records
    checker: Checker
    _now: float = 0.0
    _processes: dict[int, _Process] = field(default_factory=dict)
    _recorded: dict[str, RecordedRun] = field(default_factory=dict)
    _runs: dict[str, tuple[Sent, Run]] = field(default_factory=dict)
    _records_of: dict[Run, RecordedRun] = field(default_factory=dict)
    _asked: dict[tuple[str, int], float] = field(default_factory=dict)
    # Messages that some worker had when they were cancelled; it may begin each once.
    _may_begin: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Look ahead at what is known only later."""
        self._recorded = {run.token: run for runs in self.records.runs.values() for run in runs}
        events = self.records.events
        self._times_sent = Counter(event.id for event in events if event.mark is Mark.SENDING)
        looks = [cast("Look", event.details) for event in events if event.mark is Mark.LOOKED]
        self._buried = {letter["task"] for look in looks for letter in look["letters"]}
        self._killers = {event.id for event in events if event.mark is Mark.DEADLY}
        self.model = Model(now=lambda: self._now, may_rely=self._may_rely, mark_seconds=_SECONDS_OF_A_MARK)
        self.model.has_old_version = any(event.details.get("version") for event in events if event.mark is Mark.READY)

    def breaches(self) -> Sequence[Breach]:
        """Tell all of it, and give the promises that did not hold."""
        for event in sorted(self.records.events, key=attrgetter("at")):
            self._now = event.at
            self._tell(event)
        return self.model.breaches

    def _tell(self, event: Event) -> None:
        name, model = event.id, self.model
        match event.mark:
            case Mark.SENDING:
                self._ask(name, event.details)
            case Mark.SENT | Mark.HELD | Mark.FAILED | Mark.GIVEN_UP:
                self._answer(event)
            case Mark.START:
                self._begin(event)
            case Mark.END | Mark.CUT:
                self._end(event)
            case Mark.CANCELLING | Mark.CANCELLED:
                self._cancel(event)
            case Mark.HEARD:
                model.hear(name, self._outcome(event.details["outcome"]))
            case Mark.UNHEARD:
                model.miss(name)
            case Mark.FAULT | Mark.OVER | Mark.DEADLY:
                self._harm(event)
            case Mark.LOOKED:
                self._look(cast("Look", event.details))
            case _:
                pass

    def _ask(self, name: str, details: Mapping[str, Any]) -> Sent:
        sent = Sent(
            uid=len(self.model.sent) + 1,
            task_id=name,
            behaviour=Behaviour(ends=("kill",) if name in self._killers else ("ok",)),
            unique=details.get("unique", ""),
            max_retries=details.get("max_retries", 0),
            # Jobs fit every worker; of other tasks the records do not say which worker could run them, and when.
            needs_new="task" in details,
        )
        self.model.ask(sent)
        # Nobody can tell which of several messages of one id a run is of.
        sent.is_touched = self._times_sent[name] > 1
        sent.is_buried = name in self._buried
        return sent

    def _sent(self, name: str) -> Sent:
        known = self.model.of_task.get(name)
        # What a schedule sends has no sender who tells.
        return known[-1] if known else self._ask(name, {})

    def _answer(self, event: Event) -> None:
        answer = event.details["holder"] if event.mark is Mark.HELD else event.mark.value
        sent = self._sent(event.id)
        self.model.tell(sent, answer)
        if answer == "sent" and sent.arrived is None:
            sent.arrived = event.at

    def _begin(self, event: Event) -> None:
        sent, process = self._sent(event.id), self._process(event.pid)
        if sent.uid in self._may_begin:
            self._may_begin.discard(sent.uid)
            sent.may_begin_at = process
        run = self.model.begin(sent.uid, process)
        if sent.arrived is None:
            sent.arrived = event.at
        token = event.details["run"]
        self._runs[token] = sent, run
        self._records_of[run] = self._recorded[token]

    def _end(self, event: Event) -> None:
        sent, run = self._runs[event.details["run"]]
        if event.mark is Mark.CUT:
            self.model.end(sent.uid, run, "cut", is_final=False)
        else:
            self.model.end(sent.uid, run, event.details["how"], is_final=not event.details["again"])

    def _cancel(self, event: Event) -> None:
        if event.mark is Mark.CANCELLING:
            self._asked[event.id, event.pid] = event.at
            self.model.cancel(event.id)
            return
        found = event.details["found"]
        if found == "unknown":
            self.model.cancelled_unknown(event.id, self._asked[event.id, event.pid])
        if found not in _GONE:
            return
        self.model.cancelled(event.id, self._asked[event.id, event.pid], has_run=found == "running")
        if found == "running":
            for sent in self.model.of_task.get(event.id, ()):
                if not any(run.is_going_on and self._may_rely(run, run.process) for run in sent.runs):
                    self._may_begin.add(sent.uid)

    def _harm(self, event: Event) -> None:
        details = event.details
        if event.mark is Mark.DEADLY:
            self._process(event.pid).is_dead = True
        elif event.mark is Mark.OVER:
            if self.records.faults[int(event.id)].kind is Kind.WIPE:
                self.model.lose()
        elif details["kind"] == Kind.WIPE:
            self.model.lose()
        elif details["kind"] == Kind.KILL:
            for process in self._processes.values():
                process.is_dead = process.is_dead or details["hit"] in {process.pid, *process.parents}

    def _look(self, look: Look) -> None:
        letters = [self._found("dead", one["task"], one["reason"], one["id"]) for one in look["letters"]]
        messages = [self._found(one["kind"], one["task"], one["where"], "") for one in look["messages"]]
        keys = [
            Found(kind="key", uid=None, task_id=task, unique=unique, where="", entry="")
            for unique, task in look["held"].items()
        ]
        self.model.check([*letters, *messages])
        results = look["results"]
        outcomes = None if results is None else {task: self._outcome(one) for task, one in results.items()}
        self.model.check_end([*letters, *messages, *keys], outcomes)
        self.model.check_left(Left(name=name, expires=expires) for name, expires in look["keys"].items())

    def _found(self, kind: str, task: str, where: str, entry: str) -> Found:
        known = self.model.of_task.get(task)
        uid = known[-1].uid if known else None
        return Found(kind=kind, uid=uid, task_id=task, unique="", where=where, entry=entry)

    def _outcome(self, outcome: str) -> str:
        """An outcome as the model knows it: by the number of the run, in place of its token."""
        kind, _, token = outcome.partition(":")
        if kind not in {"ok", "error"}:
            return outcome
        if token not in self._runs:
            return f"{kind}:{_UNKNOWN_RUN}"
        sent, run = self._runs[token]
        return f"{kind}:{sent.uid}.{run.number}"

    def _process(self, pid: int) -> _Process:
        if pid not in self._processes:
            self._processes[pid] = _Process(pid=pid, parents=self.records.parents_of(pid))
        return self._processes[pid]

    def _may_rely(self, run: Run, _: Process) -> bool:
        return not self.checker.may_be_another_s(self._records_of[run], self._now)
