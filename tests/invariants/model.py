"""What really happened: what each client was told, what ran, and what Redis has. It knows when a promise is broken."""

import math
from collections.abc import Callable, Iterable, Mapping

from tests.invariants.early_acks import EarlyAcks
from tests.invariants.facts import Breach, Found, Left, Process, Run, Sent, name_of
from tests.invariants.leftovers import unexpected
from tests.invariants.misfits import LeftMessages
from tests.invariants.occurrences import Occurrences
from tests.invariants.unique_keys import breaches_of_answer, breaches_of_gone_holders, breaches_of_holders

# For so long a caller who cancels looks through what waits.
_SECONDS_TO_LOOK = 4.0
_ANY_NUMBER = 10**6
# A clean-up is cut off by who cancels its task once more.
_CANCELS_OF_A_CLEAN_UP = 2
_MISFITS = ("unknown-task", "invalid-arguments")


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
        self._of_key: dict[str, list[Sent]] = {}
        self.outcomes: dict[str, set[str]] = {}
        self.occurrences = Occurrences(now, self._break)
        self.left = LeftMessages(self._break)
        self.early_acks = EarlyAcks(self._break)
        # Whether a worker of the newer version has been there for a while, to which nothing happens.
        self.has_new_worker: Callable[[], bool] = lambda: False
        # Whether a process has never lost what it ran.
        self.has_kept: Callable[[Process], bool] = lambda _: False
        self.cancels: dict[str, list[float]] = {}
        # Whether a worker of the version before takes part, which promised less.
        self.has_old_version = False
        # Whether some process lacks rights: it may have had to give a result up.
        self.may_refuse = False
        # When Redis has lost data last.
        self.lost_at = -math.inf
        # The promises that did not hold, in the order in which that was seen.
        self.breaches: list[Breach] = []
        self._owed: dict[int, Sent] = {}
        self._letters_seen: set[str] = set()
        # Failed runs whose messages were sent again.
        self._resent_runs: set[str] = set()
        # Ids that were unknown when they were cancelled, and when that was.
        self._marked: dict[str, float] = {}
        self._forgotten_at = -math.inf
        # When a caller heard first what became of a task.
        self._heard: dict[str, float] = {}
        # Where each message is, and since when.
        self._places: dict[int, tuple[Found, float]] = {}

    @property
    def broken(self) -> str:
        """The first promise that did not hold, or ''."""
        return self.breaches[0].text if self.breaches else ""

    def ask(self, sent: Sent) -> None:
        """A client begins to send."""
        sent.asked = self._now()
        self.sent[sent.uid] = sent
        self.of_task.setdefault(sent.task_id, []).append(sent)
        if sent.unique:
            self._of_key.setdefault(sent.unique, []).append(sent)
        if sent.task_id in self.cancels:
            # The id may still be marked.
            sent.may_be_gone = sent.is_cancelled = True
            sent.cancelled_for_good = self._marked.pop(sent.task_id, None)

    def tell(self, sent: Sent, answer: str) -> None:
        """A client is told what came of it: 'sent', 'failed', or the id of the task that holds the key."""
        sent.told = answer
        sent.told_at = self._now()
        if sent.unique and not sent.is_touched:
            holders = self.of_task.get(sent.holder, [])
            self.breaches += breaches_of_answer(
                sent, owed=self._owed.values(), holders=holders, has_ended=self._had_ended
            )
        if answer == "sent" and not (sent.may_be_gone or sent.is_touched):
            self._owed[sent.uid] = sent

    def begin(self, uid: int, process: Process) -> Run:
        """A run begins."""
        sent = self.sent[uid]
        now = self._now()
        self._check_alone(sent, process)
        if not self.has_old_version:
            # It knows no such acknowledgements.
            self.early_acks.begin(sent)
        if sent.holder and not sent.is_touched:
            self._break(f"{name_of(sent)} runs, and its sender was told that {sent.holder} holds its key", sent.task_id)
        if (
            sent.cancelled_for_good is not None
            and now - self._mark_seconds < sent.cancelled_for_good < now
            and not (sent.is_touched or self.has_old_version or sent.may_begin_at is process)
        ):
            self._break(f"{name_of(sent)} begins after its cancellation was answered", sent.task_id)
        sent.may_begin_at = None
        run = Run(number=len(sent.runs), process=process, began=now)
        sent.runs.append(run)
        return run

    def end(self, uid: int, run: Run, how: str, *, is_final: bool) -> None:
        """A run has ended; where nothing is to come after it, the message may be gone."""
        run.end, run.is_retried, run.ended = how, how == "error" and not is_final, self._now()
        if is_final:
            self.let_go(self.sent[uid])

    def let_go(self, sent: Sent) -> None:
        """From now on it need not be anywhere."""
        sent.may_be_gone = True
        self._owed.pop(sent.uid, None)

    def lose(self, present: Iterable[Found] | None = None) -> None:
        """Redis has lost all data, or come back with older ones, which have what is present."""
        self.lost_at = self._now()
        self.occurrences.lose()
        # Marks are data, too, also those whose cancelling has not been answered yet.
        self._forgotten_at = self._now()
        self._marked.clear()
        self._resent_runs.clear()
        deaths: dict[int, int] = {}
        for one in present or ():
            if one.uid is not None:
                deaths[one.uid] = max(one.deaths, deaths.get(one.uid, 0))
        kept = deaths.keys()
        for sent in self.sent.values():
            sent.is_touched = True
            # More are not counted than those that happen from now on.
            sent.lost_workers = deaths.get(sent.uid, 0)
            if sent.uid not in kept:
                self._owed.pop(sent.uid, None)

    def cancel(self, task_id: str) -> None:
        """Somebody begins to cancel a task."""
        self.cancels.setdefault(task_id, []).append(self._now())
        self._marked.pop(task_id, None)
        for sent in self.of_task.get(task_id, ()):
            sent.is_cancelled = True
            self.let_go(sent)

    def cancelled(self, task_id: str, asked: float, *, has_run: bool) -> None:
        """The caller was told that the task is cancelled: what was there before does not begin any more.

        Args:
            has_run: whether the caller was told that it ran.
        """
        some = self.of_task.get(task_id, [])
        if len(some) == 1 and not has_run and self._was_running(some[0], asked):
            self._break(f"task {task_id} was cancelled while it ran, and its caller was told that it waited", task_id)
        for sent in some:
            if sent.arrived is not None and sent.arrived < asked > self._forgotten_at and not sent.is_resent:
                sent.cancelled_for_good = self._now()
        if len(some) == 1 and self._had_ended(some[0], asked):
            self._break(f"task {task_id} was cancelled after its caller had its outcome", task_id)

    def cancelled_unknown(self, task_id: str, asked: float) -> None:
        """The caller was told that there is no such task: what comes with that id later does not begin.

        A janitor of the version before moves what is due and does not say to which queue, so that none may be known.
        """
        for sent in self.of_task.get(task_id, ()):
            found, since = self._places.get(sent.uid, (None, math.inf))
            is_new = since >= asked or self._now() - asked > _SECONDS_TO_LOOK or self.has_old_version
            if found is not None and found.kind == "stream" and not (is_new or sent.is_touched or self.may_refuse):
                self._break(f"{name_of(sent)} waits in {found.where}, and who cancelled it was told of none", task_id)
        is_kept = asked > self._forgotten_at
        if is_kept and task_id not in self.of_task and len(self.cancels[task_id]) == 1:
            self._marked[task_id] = self._now()

    def cancel_at(self, uid: int, process: Process | None) -> None:
        """A message is marked that a process has: it may begin there once, and is cut off in about a second."""
        sent = self.sent[uid]
        sent.may_begin_at = None if any(run.is_going_on for run in sent.runs) else process

    def forget_marks(self) -> None:
        """Marks may have expired, also those whose cancelling has not been answered yet."""
        self._forgotten_at = self._now()
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

    def check(self, found: list[Found], *, gives_back: bool = False) -> None:
        """All that must hold after each step, which may be one that gives to others what a worker had."""
        places = self._places_of(found)
        self._note_places(places)
        has_old = self.has_old_version
        for sent in self.early_acks.check(found, self.sent, gives_back=gives_back, has_old_version=has_old):
            sent.was_cut_off = True
            self.let_go(sent)
        self.breaches += breaches_of_holders(found, self.sent)
        if not (self.may_refuse or self.has_old_version):
            self.breaches += breaches_of_gone_holders(found, self.of_task)
        self.occurrences.check({one.task_id for one in found})
        for uid, sent in self._owed.items():
            if uid not in places:
                self._break(f"{name_of(sent)} was accepted and is nowhere", sent.task_id)

    def _places_of(self, found: Iterable[Found]) -> dict[int, Found]:
        places: dict[int, Found] = {}
        for one in found:
            if one.kind == "unreachable":
                self._break(f"delayed message {one.where} has no time")
            if one.uid is None:
                continue
            sent = self.sent[one.uid]
            if sent.arrived is None:
                sent.arrived = self._now()
            # A worker of the version before counts those that older data have.
            if one.deaths > sent.lost_workers and not (sent.is_touched and self.has_old_version):
                deaths = f"{one.deaths} deaths are counted against it, and {sent.lost_workers} workers had it that died"
                self._break(f"{name_of(sent)}: {deaths}", sent.task_id)
            if one.kind == "dead":
                self._check_letter(one, sent)
            elif one.uid in places and places[one.uid].kind != "dead" and not sent.is_touched:
                where = f"{places[one.uid].where} and {one.where}"
                self._break(f"{name_of(sent)} is there twice: {where}", sent.task_id)
            places[one.uid] = one
        return places

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
            if sent.told != "sent" or (sent.is_touched and not self._has_ended_since(sent)):
                continue
            if sent.task_id not in results and not (sent.is_resent or self.may_refuse or self.has_old_version):
                self._break(f"{name_of(sent)} was accepted and has no result", sent.task_id)
        for task_id, outcome in results.items():
            if task_id in self.of_task:
                self.hear(task_id, outcome)
                self._check_spent(task_id, outcome)

    def check_left(self, left: Iterable[Left]) -> None:
        """Which keys there may be when all has ended, and the janitor has had its turns."""
        for one in unexpected(left):
            self._break(f"the key {one.name} is left {'for a time' if one.expires else 'for ever'}")

    def resend(self, letter: str, found: Iterable[Found]) -> None:
        """A dead letter was sent anew."""
        if any(one.kind == "dead" and one.entry == letter for one in found):
            self._break(f"dead letter {letter} was sent again and is still there")

    def resend_run(self, run: str, uid: int) -> None:
        """The message of a failed run was sent again: it is there once, and has an end of its own."""
        sent = self.sent[uid]
        if run in self._resent_runs:
            self._break(f"{name_of(sent)} was sent again twice for its run {run}", sent.task_id)
        self._resent_runs.add(run)
        sent.cancelled_for_good = None
        if not (sent.is_cancelled or sent.is_touched):
            sent.may_be_gone = False
            self._owed[uid] = sent

    def check_gone(self, known: Iterable[str]) -> None:
        """What Redis knows of workers that are gone, when all has ended and the janitor has had its turns."""
        for one in known:
            self._break(f"{one} is known for ever")

    def wait_in_vain(self, task_id: str) -> None:
        """A caller was not told of a result that was there in time."""
        self._break(f"the caller of task {task_id} has waited in vain for a result that was there")

    def fail(self, error: str) -> None:
        """Something raised an error that nobody expects."""
        self._break(error)

    def hand_to_nobody(self, worker: str) -> None:
        """Tasks were handed to a worker that is not registered."""
        self._break(f"worker {worker} is handed tasks, and has no lease")

    def lose_worker(self, handed: Iterable[int]) -> None:
        """A worker has lost its lease that was handed these messages before."""
        for uid in handed:
            self.sent[uid].lost_workers += 1

    def forgive(self) -> None:
        """From now on any number of deaths may be counted: nobody is left who knows that Redis has older data."""
        for sent in self.sent.values():
            sent.lost_workers = _ANY_NUMBER if sent.is_touched else sent.lost_workers

    def cut(self, uid: int, run: Run) -> None:
        """A run is cut off in a worker that lives, is not to end, and whose lease nobody has ended."""
        sent = self.sent[uid]
        if not (sent.is_cancelled or self.has_old_version):
            self._break(f"{name_of(sent)} is cut off in {run.process.name}, which lives and has it", sent.task_id)

    def cut_clean_up(self, uid: int, process: Process) -> None:
        """A run that cleans up is cut off in a worker that lives, is not to end, and whose lease nobody has ended."""
        sent = self.sent[uid]
        if len(self.cancels.get(sent.task_id, ())) < _CANCELS_OF_A_CLEAN_UP:
            text = f"{name_of(sent)} was cancelled once, and its clean-up is cut off in {process.name}"
            self._break(text, sent.task_id)

    def run_on(self, uid: int, run: Run) -> None:
        """A run goes on, although its message was marked as cancelled long before, and nothing disturbs its worker."""
        sent = self.sent[uid]
        if run.is_going_on:
            self._break(f"{name_of(sent)} was cancelled while it ran in {run.process.name}, and runs on", sent.task_id)

    def lose_lease(self, worker: str) -> None:
        """A worker is taken for dead that lives, and to which nothing has happened."""
        self._break(f"worker {worker} lives and has lost its lease")

    def forget_letters(self, found: list[Found]) -> None:
        """Dead letters are purged."""
        for one in found:
            if one.kind == "dead" and one.uid is not None:
                self.let_go(self.sent[one.uid])

    def _note_places(self, places: Mapping[int, Found]) -> None:
        now, known = self._now(), self._places
        self._places = {
            uid: known[uid] if uid in known and known[uid][0].entry == one.entry else (one, now)
            for uid, one in places.items()
        }

    def _break(self, text: str, task_id: str = "") -> None:
        self.breaches.append(Breach(text=text, task_id=task_id))

    def _had_ended(self, sent: Sent, at: float) -> bool:
        """Whether a task had ended by then, as a caller knew."""
        return not (sent.is_touched or sent.is_resent) and self._heard.get(sent.task_id, at) < at

    def _was_running(self, sent: Sent, at: float) -> bool:
        """Whether a run that has been cut off since, or goes on, had begun by then in a process that has kept it."""
        runs = [] if sent.is_touched or sent.is_resent else sent.runs
        return any(run.began < at and run.end in ("", "cut") and self.has_kept(run.process) for run in runs)

    def _has_ended_since(self, sent: Sent) -> bool:
        """Whether a task has ended since Redis has lost data, in a worker that could say so."""
        if not sent.runs or len(self.of_task[sent.task_id]) > 1 or sent.is_cancelled:
            return False
        run = sent.runs[-1]
        has_ended = run.end in ("ok", "error") and not run.is_retried and self.lost_at < run.ended
        return has_ended and self.has_kept(run.process)

    def _check_spent(self, task_id: str, outcome: str) -> None:
        """A task whose tries are spent is a dead letter."""
        (sent, *others) = self.of_task[task_id]
        is_clear = not (others or sent.is_touched or sent.is_cancelled or sent.is_resent or self.has_old_version)
        if is_clear and outcome.startswith("error:") and sent.max_retries and not (sent.is_buried or self.may_refuse):
            self._break(f"{name_of(sent)} has had all of its tries, and is no dead letter", task_id)

    def _check_letter(self, letter: Found, sent: Sent) -> None:
        if letter.entry in self._letters_seen:
            return
        self._letters_seen.add(letter.entry)
        sent.is_buried = True
        if self.has_old_version:
            self.let_go(sent)
        elif letter.where in _MISFITS and not sent.is_touched:
            if not sent.needs_new or self.has_new_worker():
                self._break(
                    f"{name_of(sent)} is a dead letter, {letter.where}, where a worker could run it", sent.task_id
                )
        elif letter.where == "worker-lost" and sent.acknowledges_first and not self._may_be_lost(sent):
            self._break(f"{name_of(sent)} has run, was acknowledged before, and is a dead letter", sent.task_id)
        elif letter.where == "worker-lost" and "kill" not in sent.behaviour.ends and sent.lost_workers < _ANY_NUMBER:
            self._break(f"{name_of(sent)} never hurt its worker, and is a dead letter of a lost worker", sent.task_id)

    def _may_be_lost(self, sent: Sent) -> bool:
        """Whether the worker of an early acknowledged message may have died before it began."""
        return sent.is_touched or not sent.runs or sent.runs[-1].is_retried

    def _check_alone(self, sent: Sent, process: Process) -> None:
        for other in self._of_key[sent.unique] if sent.unique else [sent]:
            if other.is_touched or sent.is_touched:
                continue
            for run in other.runs:
                if run.is_going_on and self._may_rely(run, process):
                    what = "twice at once" if other is sent else f"beside {name_of(other)}, with its key {sent.unique},"
                    self._break(f"{name_of(sent)} runs {what} ({run.process.name} and {process.name})", sent.task_id)

    def _is_true(self, task_id: str, outcome: str, some: list[Sent]) -> bool:
        kind, _, detail = outcome.partition(":")
        match kind:
            case "ok" | "error":
                return any(
                    f"{sent.uid}.{run.number}" == detail and run.end == kind for sent in some for run in sent.runs
                )
            case "cancelled":
                return task_id in self.cancels
            case "cut":
                return any(sent.was_cut_off for sent in some)
            case "lost" | "unfit":
                return any(sent.is_buried for sent in some)
            case "ResultRefusedError":
                return self.may_refuse
            case _:
                return False
