"""What really happened: what each client was told, what ran, and what Redis has. It knows when a promise is broken."""

from collections.abc import Callable, Iterable

from tests.invariants.facts import Breach, Found, Left, Process, Run, Sent
from tests.invariants.leftovers import unexpected


class Model:
    """The truth of one history.

    Args:
        now: the seconds of its clock.
        may_rely: whether a run's process may count on nobody else running its task; the other process is where another
            run begins.
        mark_seconds: for which marks of cancelled tasks are there, from when cancelling began.
    """

    def __init__(
        self, *, now: Callable[[], float], may_rely: Callable[[Run, Process], bool], mark_seconds: float
    ) -> None:
        self._now = now
        self._may_rely = may_rely
        self._mark_seconds = mark_seconds
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
        # The promises that did not hold, in the order in which that was seen.
        self.breaches: list[Breach] = []
        self._owed: dict[int, Sent] = {}
        self._owed_ticks: set[str] = set()
        self._letters_seen: set[str] = set()
        # Ids that were unknown when they were cancelled, and when that was.
        self._marked: dict[str, float] = {}
        # When a caller heard first what became of a task.
        self._heard: dict[str, float] = {}

    @property
    def broken(self) -> str:
        """The first promise that did not hold, or ''."""
        return self.breaches[0].text if self.breaches else ""

    def ask(self, sent: Sent) -> None:
        """A client begins to send."""
        sent.asked = self._now()
        self.sent[sent.uid] = sent
        self.of_task.setdefault(sent.task_id, []).append(sent)
        if sent.task_id in self.cancels:
            # The id may still be marked.
            sent.may_be_gone = sent.is_cancelled = True
            sent.cancelled_for_good = self._marked.pop(sent.task_id, None)

    def tell(self, sent: Sent, answer: str) -> None:
        """A client is told what came of it: 'sent', 'failed', or the id of the task that holds the key."""
        sent.told = answer
        sent.told_at = self._now()
        if sent.unique and not sent.is_touched:
            self._check_key_answer(sent)
        if answer == "sent" and not (sent.may_be_gone or sent.is_touched):
            self._owed[sent.uid] = sent

    def begin(self, uid: int, process: Process) -> Run:
        """A run begins."""
        sent = self.sent[uid]
        now = self._now()
        self._check_alone(sent, process)
        if sent.holder and not sent.is_touched:
            self._break(f"{_of(sent)} runs, and its sender was told that {sent.holder} holds its key", sent.task_id)
        if (
            sent.cancelled_for_good is not None
            and now - self._mark_seconds < sent.cancelled_for_good < now
            and not (sent.is_touched or self.has_old_version or sent.may_begin_at is process)
        ):
            self._break(f"{_of(sent)} begins after its cancellation was answered", sent.task_id)
        sent.may_begin_at = None
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
        self._marked.clear()
        kept = {one.uid for one in present or () if one.uid is not None}
        for sent in self.sent.values():
            sent.is_touched = True
            if sent.uid not in kept:
                self._owed.pop(sent.uid, None)

    def cancel(self, task_id: str) -> None:
        """Somebody begins to cancel a task."""
        self.cancels.setdefault(task_id, []).append(self._now())
        self._marked.pop(task_id, None)
        for sent in self.of_task.get(task_id, ()):
            sent.is_cancelled = True
            self.let_go(sent)

    def cancelled(self, task_id: str, asked: float) -> None:
        """The caller was told that the task is cancelled: what was there before does not begin any more."""
        some = self.of_task.get(task_id, [])
        for sent in some:
            if sent.arrived is not None and sent.arrived < asked and not sent.is_resent:
                sent.cancelled_for_good = self._now()
        if len(some) == 1 and self._heard.get(task_id, asked) < asked and not (some[0].is_touched or some[0].is_resent):
            self._break(f"task {task_id} was cancelled after its caller had its outcome", task_id)

    def cancelled_unknown(self, task_id: str) -> None:
        """The caller was told that there is no such task: what comes with that id later does not begin."""
        if task_id not in self.of_task and len(self.cancels[task_id]) == 1:
            self._marked[task_id] = self._now()

    def cancel_at(self, uid: int, process: Process | None) -> None:
        """A message is marked that a process has: it may begin there once, and is cut off in about a second."""
        sent = self.sent[uid]
        sent.may_begin_at = None if any(run.is_going_on for run in sent.runs) else process

    def forget_marks(self) -> None:
        """Marks may have expired."""
        self._marked.clear()
        for sent in self.sent.values():
            sent.cancelled_for_good = None

    def hear(self, task_id: str, outcome: str) -> None:
        """A caller hears what became of a task."""
        some = self.of_task.get(task_id, [])
        known = self.outcomes.setdefault(task_id, set())
        known.add(outcome)
        self._heard.setdefault(task_id, self._now())
        if any(one.is_touched or one.is_resent for one in some):
            return
        if len(known) > 1 and len(some) == 1:
            self._break(f"task {task_id} has several outcomes: {sorted(known)}", task_id)
        if not self._is_true(task_id, outcome, some):
            self._break(f"the outcome of task {task_id} is not true: {outcome}", task_id)

    def fire(self, occurrence: str) -> None:
        """A scheduled time was sent."""
        if occurrence in self.fired:
            self._break(f"{occurrence} was sent twice", occurrence)
        self.fired.add(occurrence)
        self.last_fired[occurrence.partition("@")[0]] = self._now()
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
            is_late = self._now() - self.last_fired.get(name, 0.0) > 2 * every + 1.0
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
                sent.arrived = self._now()
            if one.kind == "dead":
                self._check_letter(one, sent)
            elif one.uid in places and places[one.uid].kind != "dead" and not sent.is_touched:
                where = f"{places[one.uid].where} and {one.where}"
                self._break(f"{_of(sent)} is there twice: {where}", sent.task_id)
            places[one.uid] = one
        self._check_keys(found)
        for occurrence in sorted(self._owed_ticks - {one.task_id for one in found}) if self._owed_ticks else ():
            self._break(f"{occurrence} was sent and is nowhere", occurrence)
        for uid, sent in self._owed.items():
            if uid not in places:
                self._break(f"{_of(sent)} was accepted and is nowhere", sent.task_id)

    def miss(self, task_id: str) -> None:
        """A caller waits for ever for what became of a task."""
        if not any(one.is_touched for one in self.of_task.get(task_id, ())):
            self._break(f"the caller of task {task_id} waits in vain", task_id)

    def check_end(self, found: Iterable[Found], results: dict[str, str] | None) -> None:
        """What must hold when all has ended; None for results that have expired, or may have."""
        for one in found:
            if one.kind in ("stream", "delayed"):
                self._break(f"{one.kind} message {one.uid} of {one.task_id} is left in {one.where}", one.task_id)
            if one.kind == "key":
                self._break(f"key {one.unique} is held for ever by {one.task_id}", one.task_id)
        if results is None:
            return
        for sent in self.sent.values():
            if sent.told != "sent" or sent.is_touched:
                continue
            if sent.task_id not in results and not (sent.is_resent or self.may_refuse or self.has_old_version):
                self._break(f"{_of(sent)} was accepted and has no result", sent.task_id)
        for task_id, outcome in results.items():
            if task_id in self.of_task:
                self.hear(task_id, outcome)

    def check_left(self, left: Iterable[Left]) -> None:
        """Which keys there may be when all has ended, and the janitor has had its turns."""
        for one in unexpected(left):
            self._break(f"the key {one.name} is left {'for a time' if one.expires else 'for ever'}")

    def resend(self, letter: str, found: Iterable[Found]) -> None:
        """A dead letter was sent anew."""
        if any(one.kind == "dead" and one.entry == letter for one in found):
            self._break(f"dead letter {letter} was sent again and is still there")

    def lose_lease(self, worker: str) -> None:
        """A worker is taken for dead that lives, and to which nothing has happened."""
        self._break(f"worker {worker} lives and has lost its lease")

    def forget_letters(self, found: list[Found]) -> None:
        """Dead letters are purged."""
        for one in found:
            if one.kind == "dead" and one.uid is not None:
                self.let_go(self.sent[one.uid])

    def _break(self, text: str, task_id: str = "") -> None:
        self.breaches.append(Breach(text=text, task_id=task_id))

    def _check_key_answer(self, sent: Sent) -> None:
        """What a sender was told of its unique key."""
        if sent.holder:
            if sent.arrived is not None:
                what = f"the sender of {_of(sent)} was told that {sent.holder} holds its key, but it was added"
                self._break(what, sent.task_id)
            holders = self.of_task.get(sent.holder, [])
            if len(holders) == 1 and self._is_released(holders[0], sent.asked):
                what = f"the sender of {_of(sent)} was told that {sent.holder} holds its key, which had ended"
                self._break(what, sent.task_id)
        elif sent.told == "sent" and not sent.may_be_gone:
            for other in self._owed.values():
                is_rival = other.unique == sent.unique and other is not sent and other.told_at < sent.asked
                if is_rival and not (other.is_touched or other.is_buried or other.is_resent or sent.is_resent):
                    what = f"{_of(sent)} was accepted while {other.task_id} has its key {sent.unique}"
                    self._break(what, sent.task_id)

    def _is_released(self, holder: Sent, at: float) -> bool:
        """Whether a task had ended by then, as a caller knew, and with it its hold of a key."""
        return not (holder.is_touched or holder.is_resent) and self._heard.get(holder.task_id, at) < at

    def _check_keys(self, found: list[Found]) -> None:
        holders = {one.unique: one.task_id for one in found if one.kind == "key"}
        held: dict[str, Found] = {}
        for one in found:
            is_held = one.unique and one.kind in ("stream", "delayed") and one.uid is not None
            if not is_held or self.sent[one.uid or 0].is_touched:
                continue
            if holders.get(one.unique) != one.task_id:
                self._break(f"message {one.uid} waits or runs without its key {one.unique}", one.task_id)
            if one.unique in held:
                self._break(f"{held[one.unique].uid} and {one.uid} both have the key {one.unique}", one.task_id)
            held[one.unique] = one

    def _check_letter(self, letter: Found, sent: Sent) -> None:
        if letter.entry in self._letters_seen:
            return
        self._letters_seen.add(letter.entry)
        sent.is_buried = True
        if self.has_old_version:
            self.let_go(sent)
        elif letter.where == "worker-lost" and "kill" not in sent.behaviour.ends:
            self._break(f"{_of(sent)} never hurt its worker, and is a dead letter of a lost worker", sent.task_id)

    def _check_alone(self, sent: Sent, process: Process) -> None:
        rivals = [sent]
        if sent.unique:
            rivals = [one for one in self.sent.values() if one.unique == sent.unique]
        for other in rivals:
            if other.is_touched or sent.is_touched:
                continue
            for run in other.runs:
                if run.is_going_on and self._may_rely(run, process):
                    what = "twice at once" if other is sent else f"beside {_of(other)}, with its key {sent.unique},"
                    self._break(f"{_of(sent)} runs {what} ({run.process.name} and {process.name})", sent.task_id)

    def _is_true(self, task_id: str, outcome: str, some: list[Sent]) -> bool:
        kind, _, detail = outcome.partition(":")
        match kind:
            case "ok" | "error":
                return any(
                    f"{sent.uid}.{run.number}" == detail and run.end == kind for sent in some for run in sent.runs
                )
            case "cancelled":
                return task_id in self.cancels
            case "lost" | "unfit":
                return any(sent.is_buried for sent in some)
            case "ResultRefusedError":
                return self.may_refuse
            case _:
                return False


def _of(sent: Sent) -> str:
    return f"message {sent.uid} of task {sent.task_id}"
