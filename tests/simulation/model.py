"""What really happened: what each client was told, what ran, and what Redis has. It knows when a promise is broken."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.kernel import Kernel, Process
from tests.simulation.product import OPTIONS


@dataclass(kw_only=True)
class Behaviour:
    """What a task does.

    Args:
        seconds: how long each run takes.
        ends: how its runs end, one after the other, the last one for ever: 'ok', 'error', or 'kill' for its worker.
        is_stubborn: whether it makes another error of its cancellation.
    """

    seconds: float = 0.1
    ends: tuple[str, ...] = ("ok",)
    is_stubborn: bool = False


@dataclass(kw_only=True, eq=False)
class Run:
    """One run of a task, in a process."""

    number: int
    process: Process
    began: float
    end: str = ""

    @property
    def is_going_on(self) -> bool:
        """Whether it still does something."""
        return not self.end and not self.process.is_dead


@dataclass(kw_only=True, eq=False)
class Sent:
    """A message, as its sender has it. Two of them may have one task's id.

    Args:
        max_retries: how often it is tried again after an error.
    """

    uid: int
    task_id: str
    behaviour: Behaviour
    unique: str = ""
    max_retries: int = 0
    asked: float = 0.0
    told: str = ""
    arrived: float | None = None
    runs: list[Run] = field(default_factory=list[Run])
    may_be_gone: bool = False
    is_touched: bool = False
    is_cancelled: bool = False
    cancelled_for_good: float | None = None
    cancelled_at: Process | None = None
    is_buried: bool = False
    is_resent: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that Redis has."""

    kind: str
    uid: int | None
    task_id: str
    unique: str
    where: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """A key that is there in the end; its name is without what all begin with."""

    name: str
    expires: bool


# Marks of cancelled tasks are there for longer, from when cancelling began.
_SECONDS_OF_A_MARK: Final = OPTIONS.cancel_age - 10.0
# What docs/delivery.md has in its table of keys and is there when all has ended: what all agree on, and what expires.
_LASTING = re.compile(
    r"((:queue:\w+)?(:returned|:suspects|:isolated)?|:dead(:dropped)?|:cancelled|:workers(:info|:draining)?|:queues"
    r"|:epoch|:layout|:group|:janitor|:schedules.*)"
)
_EXPIRING = re.compile(r":result:.+|:sender:.+|(:quarantine|:probe)|:epoch:settled:.+|:schedules.*")


def unexpected(left: Iterable[Left]) -> list[Left]:
    """Keys that are not to be there when all has ended."""
    return [one for one in left if not (_EXPIRING if one.expires else _LASTING).fullmatch(one.name)]


class Model:
    """The truth of one history."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.sent: dict[int, Sent] = {}
        self.of_task: dict[str, list[Sent]] = {}
        self.outcomes: dict[str, set[str]] = {}
        self.fired: set[str] = set()
        self.last_fired: dict[str, float] = {}
        self.changed_schedules: set[str] = set()
        self.known_letters: set[str] = set()
        self.cancels: dict[str, list[float]] = {}
        # Whether a worker of the version before takes part, which promised less.
        self.has_old_version = False
        # Whether some process lacks rights: it may have had to give a result up.
        self.may_refuse = False
        # The first promise that did not hold.
        self.broken = ""
        self._owed: dict[int, Sent] = {}
        self._owed_ticks: set[str] = set()
        self._letters_seen: set[str] = set()
        # Of the leases by which processes may run what they have.
        self.trusts: dict[Process, object] = {}

    def ask(self, sent: Sent) -> None:
        """A client begins to send."""
        sent.asked = self._kernel.now
        self.sent[sent.uid] = sent
        self.of_task.setdefault(sent.task_id, []).append(sent)
        if sent.task_id in self.cancels:
            # The id may still be marked.
            sent.may_be_gone = sent.is_cancelled = True

    def tell(self, sent: Sent, answer: str) -> None:
        """A client is told what came of it: 'sent', 'failed', or the id of the task that holds the key."""
        sent.told = answer
        if answer == "sent" and not (sent.may_be_gone or sent.is_touched):
            self._owed[sent.uid] = sent
        if answer not in ("sent", "failed", "given-up") and sent.arrived is not None and not sent.is_touched:
            self._break(f"the sender of {sent.uid} was told that {answer} holds its key, but it was added")

    def begin(self, uid: int, process: Process) -> Run:
        """A run begins."""
        sent = self.sent[uid]
        now = self._kernel.now
        self._check_alone(sent, process)
        if (
            sent.cancelled_for_good is not None
            and now - _SECONDS_OF_A_MARK < sent.cancelled_for_good < now
            and not (sent.is_touched or self.has_old_version or sent.cancelled_at is process)
        ):
            self._break(f"message {uid} of task {sent.task_id} begins after its cancellation was answered")
        sent.cancelled_at = None
        run = Run(number=len(sent.runs), process=process, began=now)
        sent.runs.append(run)
        return run

    def end(self, uid: int, run: Run, how: str, *, is_final: bool) -> None:
        """A run has ended; where nothing is to come after it, the message may be gone."""
        run.end = how
        if is_final:
            self.let_go(self.sent[uid])

    def let_go(self, sent: Sent) -> None:
        """From now on it need not be anywhere."""
        sent.may_be_gone = True
        self._owed.pop(sent.uid, None)

    def lose(self, present: Iterable[Found] | None = None) -> None:
        """Redis has lost all data, or come back with older ones, which have what is present."""
        self.repeat_times()
        self._owed_ticks.clear()
        kept = {one.uid for one in present or () if one.uid is not None}
        for sent in self.sent.values():
            sent.is_touched = True
            if sent.uid not in kept:
                self._owed.pop(sent.uid, None)

    def cancel(self, task_id: str) -> None:
        """Somebody begins to cancel a task."""
        self.cancels.setdefault(task_id, []).append(self._kernel.now)
        for sent in self.of_task.get(task_id, ()):
            sent.is_cancelled = True
            self.let_go(sent)

    def cancelled(self, task_id: str, asked: float) -> None:
        """The caller was told that the task is cancelled: what was there before does not begin any more."""
        for sent in self.of_task.get(task_id, ()):
            if sent.arrived is not None and sent.arrived < asked and not sent.is_resent:
                sent.cancelled_for_good = self._kernel.now

    def cancel_at(self, uid: int, process: Process | None) -> None:
        """A message is marked that a process has: it may begin there once, and is cut off in about a second."""
        sent = self.sent[uid]
        sent.cancelled_at = None if any(run.is_going_on for run in sent.runs) else process

    def forget_marks(self) -> None:
        """Marks may have expired."""
        for sent in self.sent.values():
            sent.cancelled_for_good = None

    def hear(self, task_id: str, outcome: str) -> None:
        """A caller hears what became of a task."""
        some = self.of_task.get(task_id, [])
        known = self.outcomes.setdefault(task_id, set())
        known.add(outcome)
        if any(one.is_touched or one.is_resent for one in some):
            return
        if len(known) > 1 and len(some) == 1:
            self._break(f"task {task_id} has several outcomes: {sorted(known)}")
        if not self._is_true(task_id, outcome, some):
            self._break(f"the outcome of task {task_id} is not true: {outcome}")

    def fire(self, occurrence: str) -> None:
        """A scheduled time was sent."""
        if occurrence in self.fired:
            self._break(f"{occurrence} was sent twice")
        self.fired.add(occurrence)
        self.last_fired[occurrence.partition("@")[0]] = self._kernel.now
        self._owed_ticks.add(occurrence)

    def tick(self, occurrence: str) -> None:
        """What was sent for a scheduled time runs."""
        self._owed_ticks.discard(occurrence)

    def repeat_times(self) -> None:
        """Scheduled times may be sent again."""
        self.fired.clear()

    def check_schedules(self, seconds: dict[str, int]) -> None:
        """Whether each schedule has gone on lately."""
        for name, every in seconds.items():
            is_late = self._kernel.now - self.last_fired.get(name, 0.0) > 2 * every + 1.0
            if is_late and name not in self.changed_schedules:
                self._break(f"schedule {name} stands still")

    def check(self, found: list[Found]) -> None:
        """All that must hold after each step."""
        places: dict[int, Found] = {}
        for one in found:
            if one.kind == "unreachable":
                self._break(f"delayed message {one.where} has no time")
            if one.uid is None:
                continue
            sent = self.sent[one.uid]
            if sent.arrived is None:
                sent.arrived = self._kernel.now
            if one.kind == "dead":
                self._check_letter(one, sent)
            elif one.uid in places and places[one.uid].kind != "dead" and not sent.is_touched:
                self._break(f"message {one.uid} is there twice: {places[one.uid].where} and {one.where}")
            places[one.uid] = one
        self._check_keys(found)
        for occurrence in sorted(self._owed_ticks - {one.task_id for one in found}) if self._owed_ticks else ():
            self._break(f"{occurrence} was sent and is nowhere")
        for uid, sent in self._owed.items():
            if uid not in places:
                self._break(f"message {uid} of task {sent.task_id} was accepted and is nowhere")

    def check_end(self, found: list[Found], results: dict[str, str]) -> None:
        """What must hold when all has ended."""
        for one in found:
            if one.kind in ("stream", "delayed"):
                self._break(f"{one.kind} message {one.uid} of {one.task_id} is left in {one.where}")
            if one.kind == "key":
                self._break(f"key {one.unique} is held for ever by {one.task_id}")
        for sent in self.sent.values():
            if sent.told != "sent" or sent.is_touched:
                continue
            if sent.task_id not in results and not (sent.is_resent or self.may_refuse or self.has_old_version):
                self._break(f"message {sent.uid} of task {sent.task_id} was accepted and has no result")
        for task_id, outcome in results.items():
            if task_id in self.of_task:
                self.hear(task_id, outcome)

    def check_left(self, left: Iterable[Left]) -> None:
        """Which keys there may be when all has ended, and the janitor has had its turns."""
        for one in unexpected(left):
            self._break(f"the key {one.name} is left {'for a time' if one.expires else 'for ever'}")

    def check_gone(self, known: Iterable[str]) -> None:
        """What Redis knows of workers that are gone, when all has ended and the janitor has had its turns."""
        for one in known:
            self._break(f"{one} is known for ever")

    def wait_in_vain(self, task_id: str) -> None:
        """A caller was not told of a result that was there in time."""
        self._break(f"the caller of task {task_id} has waited in vain for a result that was there")

    def resend(self, letter: str, found: Iterable[Found]) -> None:
        """A dead letter was sent anew."""
        if any(one.kind == "dead" and one.entry == letter for one in found):
            self._break(f"dead letter {letter} was sent again and is still there")

    def lose_lease(self, worker: str) -> None:
        """A worker is taken for dead that lives, and to which nothing has happened."""
        self._break(f"worker {worker} lives and has lost its lease")

    def fail(self, error: str) -> None:
        """Something raised an error that nobody expects."""
        self._break(error)

    def hand_to_nobody(self, worker: str) -> None:
        """Tasks were handed to a worker that is not registered."""
        self._break(f"worker {worker} is handed tasks, and has no lease")

    def forget_letters(self, found: list[Found]) -> None:
        """Dead letters are purged."""
        for one in found:
            if one.kind == "dead" and one.uid is not None:
                self.let_go(self.sent[one.uid])

    def _break(self, text: str) -> None:
        self.broken = self.broken or text

    def _check_keys(self, found: list[Found]) -> None:
        holders = {one.unique: one.task_id for one in found if one.kind == "key"}
        held: dict[str, Found] = {}
        for one in found:
            is_held = one.unique and one.kind in ("stream", "delayed") and one.uid is not None
            if not is_held or self.sent[one.uid or 0].is_touched:
                continue
            if holders.get(one.unique) != one.task_id:
                self._break(f"message {one.uid} waits or runs without its key {one.unique}")
            if one.unique in held:
                self._break(f"{held[one.unique].uid} and {one.uid} both have the key {one.unique}")
            held[one.unique] = one

    def _check_letter(self, letter: Found, sent: Sent) -> None:
        if letter.entry in self._letters_seen:
            return
        self._letters_seen.add(letter.entry)
        sent.is_buried = True
        if self.has_old_version:
            self.let_go(sent)
        elif letter.where == "worker-lost" and "kill" not in sent.behaviour.ends and not sent.is_touched:
            # Older data may have it as alone in a process that runs another one by now, and dies of that.
            self._break(f"message {sent.uid} never hurt its worker, and is a dead letter of a lost worker")

    def _check_alone(self, sent: Sent, process: Process) -> None:
        rivals = [sent]
        if sent.unique:
            rivals = [one for one in self.sent.values() if one.unique == sent.unique]
        for other in rivals:
            if other.is_touched or sent.is_touched:
                continue
            for run in other.runs:
                if run.is_going_on and (run.process is process or self.is_trusted(run.process)):
                    what = "twice at once" if other is sent else f"beside {other.uid}, which has its key {sent.unique},"
                    self._break(f"message {sent.uid} runs {what} ({run.process.name} and {process.name})")

    def is_trusted(self, process: Process) -> bool:
        """Whether a process may count on its lease, by its own clock."""
        lease = self.trusts.get(process)
        if lease is None:
            return False
        before, self._kernel.current = self._kernel.current, process
        try:
            return bool(getattr(lease, "is_trusted"))  # noqa: B009  # the lease is the product's
        finally:
            self._kernel.current = before

    def _is_true(self, task_id: str, outcome: str, some: list[Sent]) -> bool:
        kind, _, detail = outcome.partition(":")
        match kind:
            case "ok" | "error":
                return any(
                    f"{sent.uid}.{run.number}" == detail and run.end == kind for sent in some for run in sent.runs
                )
            case "cancelled":
                return task_id in self.cancels
            case "lost":
                return any(sent.is_buried for sent in some)
            case "ResultRefusedError":
                return self.may_refuse
            case _:
                return False
