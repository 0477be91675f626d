"""One history: processes, a network and a Redis, to which things happen as a plan says."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from taskiq import TaskiqResult
from tests.invariants.facts import Found, Left, Run, Sent
from tests.invariants.facts import Process as AnyProcess
from tests.invariants.model import Model
from tests.simulation.chance import BEATS
from tests.simulation.kernel import Kernel, Process
from tests.simulation.network import TELLING, UID, Command, Network, name_of_value
from tests.simulation.old_version import JobError, SimulatedHost, SimulatedProgram
from tests.simulation.producer import Producer
from tests.simulation.product import GROUP, LATE_QUEUE, NEWS, OPTIONS, QUEUE, WEIGHTS, WIDE, SimulatedBroker
from tests.simulation.scheduler import Operator, Scheduler
from tests.simulation.scripts import script_texts, sha_of
from tests.simulation.server import Server, Value, packed
from tests.simulation.trust import Trust
from tests.simulation.version_n.sender import OldMessage, OldSender
from tests.simulation.version_n.worker import OldWorker
from tests.simulation.ward import Orders, WardChild
from tests.simulation.worker import Worker

from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.results import decode_result
from kiqstart.scheduler.definition import CatchUp

_SNAPSHOT: Final = (Path(__file__).parent / "snapshot.lua").read_text()
# After these, something may be gone, or be there twice.
_CHANGING: Final = frozenset(
    {"send", "settle", "move", "give_back", "reclaim", "resend", "fire", "testify", "condemn", "cancel", "cancel_entry"}
    | {"bury", "free_keys", "forget_queue", "adopt", "recall", "acknowledge", "resend_run"}
)
# These end what was acknowledged before it ran: its worker is gone, or goes.
_GIVING_BACK: Final = frozenset({"give_back", "reclaim", "testify"})
_READING: Final = frozenset({"fetch", "adopt", "XREADGROUP"})
# What a result takes to reach who waits for it: two on their way, one after the other.
_SECONDS_TO_HEAR: Final = 0.5
# Of all machines, as `World.process` makes them.
_SLOWEST_CLOCK: Final = 0.995
# Within which a running task is cut off that was cancelled: its worker's next beat, a second later at most, and the
# commands of that beat.
_SECONDS_TO_CUT: Final = 2.0
# Within which a new worker has said what it may take.
_SECONDS_TO_BE_KNOWN: Final = 10.0
# By so much the clock may be set back, and the schedulers wait until it is as late.
_SECONDS_WAITED_FOR: Final = -60.0
# Of a step of a schedule, in the arguments of its script; the ninth names the task.
_FIELDS_OF_A_STEP: Final = 11
# Marks of cancelled tasks are there for longer, from when cancelling began.
_SECONDS_OF_A_MARK: Final = OPTIONS.cancel_age - 10.0
# The rights of a user who may do all, but hear and tell nothing.
NO_CHANNELS: Final = ("~*", "+@all")
# Of a delayed message that no worker can read.
_UNREADABLE: Final = "unreadable"


class World:
    """Everything there is in a history.

    Args:
        seed: of all that happens by chance.
        start_ms: what Redis' clock says when it begins.
    """

    def __init__(self, server: Server, seed: int, start_ms: int) -> None:
        self.kernel: Final = Kernel()
        self.server: Final = server
        self.seed: Final = seed
        self._latest_clock_ms = start_ms
        self.trust: Final = Trust(self.kernel)
        self.model: Final = Model(
            now=lambda: self.kernel.now,
            may_rely=lambda run, process: run.process is process or self.trust.is_trusted(run.process),
            mark_seconds=_SECONDS_OF_A_MARK,
        )
        self.model.has_new_worker = self.has_new_worker
        self.model.has_kept = self._has_kept
        self.model.early_acks.may_be_cut_off = self._may_be_cut_off
        self.network: Final = Network(self.kernel, server, self, start_ms=start_ms)
        self.keys: Final = QueueKeys(QUEUE)
        self.workers: dict[str, Worker] = {}
        self.wards: list[WardChild] = []
        self.producers: dict[str, Producer] = {}
        self.schedulers: dict[str, Scheduler] = {}
        self.operator: Operator | None = None
        self.old_workers: dict[str, Process] = {}
        self.is_healing = False
        # Whether nothing happens for which a living worker could lose its lease.
        self.is_gentle = False
        # Whether something was sent to a queue that no worker takes yet.
        self.uses_late_queue = False
        self.has_paused = False
        self._has_unreadable = False
        self.processes: list[Process] = []
        self.settings: dict[str, dict[str, Any]] = {}
        # Is told of each command, to see how a promise came to be broken.
        self.trace: Callable[[str], None] | None = None
        self._births = 0
        self._told_at: dict[str, float] = {}
        self._fired: set[tuple[str, int]] = set()
        self._seeing = {
            "testify": self._note_testimony,
            "fence": self._note_fenced,
            "note_older_data": self._note_older_data,
        }
        self._noting = {"fire": self._note_fired, "settle": self._note_left, "resend_run": self._note_resent}
        self._fenced_at: dict[str, float] = {}
        # Which workers lived as Redis came back with older data, until one of them has noted it.
        self._witnesses: list[Process] | None = None
        # Whose lease others have ended.
        self._fenced: set[AnyProcess] = set()
        self._dumped_at = 0.0
        # Whether Redis came back with data so new that workers may not have beaten in between.
        self._may_be_unnoticed = False
        self._dump: list[tuple[bytes, int, bytes]] | None = None
        self._dumped: list[Found] = []
        server.begin({sha_of(text): text for text in (*script_texts(), _SNAPSHOT)})
        self._streams = self.keys.all_locations([*WEIGHTS, LATE_QUEUE])
        shown = (self.keys.uniques, self.keys.delayed, self.keys.delayed_messages, self.keys.dead, self.keys.early)
        self._snapshot_keys = [*shown, *self._streams]
        look: tuple[Value, ...] = ("EVALSHA", sha_of(_SNAPSHOT), len(self._snapshot_keys), *self._snapshot_keys)
        self.network.look = packed(look)
        self.network.look_now = self._look
        self.network.looked_after = _CHANGING

    # --- what there is

    def process(self, name: str) -> Process:
        """A new process, on a machine whose clock is its own."""
        self._births += 1
        random = Random(f"{self.seed}:{name}:{self._births}")  # noqa: S311  # not a secret
        rate = random.uniform(0.995, 1.005)
        process = Process(self.kernel, name, random, offset=random.uniform(0, 1e6), rate=rate)
        self.processes.append(process)
        return process

    def found(self) -> list[Found]:
        """All that Redis has."""
        seen, self.network.seen = self.network.seen, None
        rows = cast("list[bytes]", seen) if isinstance(seen, list) else self._look()
        return [_found_in(row) for row in rows]

    def _look(self) -> list[bytes]:
        return cast("list[bytes]", self.server.wire.demand_packed(self.network.look))

    def on_executed(self, command: Command, answer: object) -> None:
        """Look whether all promises hold after a command."""
        if self.trace is not None:
            self.trace(self._line(command, answer))
        if command.name in self._seeing:
            self._seeing[command.name](command, answer)
        if command.name in _CHANGING:
            if command.name in self._noting:
                self._noting[command.name](command, answer)
            found = self.found()
            if command.name == "resend" and isinstance(answer, list) and answer[0] == b"sent":
                self.model.resend(name_of_value(command.arguments[3 + cast("int", command.arguments[2])]), found)
            if answer == b"running":
                self._note_cancelled(command, found)
            self.model.check(found, gives_back=command.name in _GIVING_BACK)
        if self.is_gentle and command.name in TELLING:
            self._note_told(command)
        if command.name in _READING and isinstance(answer, list):
            self._check_reader(command, cast("list[object]", answer))
        elif command.name in BEATS and self.is_gentle:
            self._check_trusted(command.process)

    def on_handed(self, process: Process, uid: int, *, is_over: bool) -> None:
        """A process was handed a message."""
        self.model.left.hand(self.model.sent[uid], process, is_over=is_over)

    def _may_be_cut_off(self, place: tuple[str, str]) -> bool:
        """Whether the worker that has an entry has ended, is to end, or has lost its lease."""
        process = self.network.taker(*place)
        if process is None or self._is_to_end(process):
            return True
        return process.was_frozen or not self.trust.is_trusted(process)

    def _note_left(self, command: Command, answer: object) -> None:
        """Messages were left to other workers."""
        arguments = command.arguments[3 + cast("int", command.arguments[2]) : -1]
        if not isinstance(answer, list) or command.process.name in self.old_workers:
            return
        lost, refused = cast("list[list[int]]", answer)
        at, place = 5, 0
        while at < len(arguments):
            count = cast("int", arguments[at])
            place, at = place + max(count, 1), at + 5
            if count == 0 and arguments[at + 3] == "left" and place not in (*lost, *refused[::2]):
                message = cast("bytes", arguments[at + 4])
                if (named := UID.search(message)) and self._may_be_a_misfit(self.model.sent[int(named[1])]):
                    self.model.left.leave(self.model.sent[int(named[1])], command.process)
            at += 2 * count if count else 11

    def _note_resent(self, command: Command, answer: object) -> None:
        """The message of a failed run was sent again."""
        run, _, _, message = command.arguments[3 + cast("int", command.arguments[2]) :][:4]
        named = UID.search(cast("bytes", message))
        if named and isinstance(answer, list) and answer[0] == b"sent":
            self.model.resend_run(name_of_value(run), int(named[1]))

    def _may_be_a_misfit(self, sent: Sent) -> bool:
        """Whether a worker may have left it to others, and not since its task is paused."""
        return sent.needs_new or not self.has_paused

    def has_new_worker(self) -> bool:
        """Whether a worker of the newer version has been there for some time, and nothing happens that disturbs it."""
        since = self.kernel.now - _SECONDS_TO_BE_KNOWN
        settled = [
            worker
            for slot, worker in self.workers.items()
            if self.settings.get(slot, {}).get("version") == "new" and worker.began < since
        ]
        return self.is_gentle and any(not (one.process.is_dead or one.is_asked_to_end) for one in settled)

    def _note_told(self, command: Command) -> None:
        """A task has a result by now, if it has one at all."""
        prefix = self.keys.result_prefix
        for key in command.arguments[3 : 3 + cast("int", command.arguments[2])]:
            if str(key).startswith(prefix):
                self._told_at[str(key)] = self.kernel.now

    def on_nothing(self, task_id: str) -> None:
        """A caller has waited in vain; where nothing goes wrong, it hears of a result that is there."""
        key = self.keys.result(task_id)
        since = self._told_at.get(key, self.kernel.now)
        if self.kernel.now - since > _SECONDS_TO_HEAR and self.server.wire.ask("EXISTS", key):
            self.model.wait_in_vain(task_id)

    def _check_reader(self, command: Command, answer: list[object]) -> None:
        """Tasks that are handed to a name which nobody has would wait there for as long as a lease.

        A read that waits is over before others take over: else it is handed what they give back.
        """
        if command.name == "XREADGROUP":
            worker, since = name_of_value(command.arguments[3]), command.parked_at
            is_gone = since is not None and since < self._fenced_at.get(worker, math.inf) < self.kernel.now
        else:
            worker = name_of_value(command.arguments[4 + cast("int", command.arguments[2])])
            is_gone = len(answer) > 1 and self.server.wire.ask("ZSCORE", self.keys.workers, worker) is None
        if is_gone:
            self.model.hand_to_nobody(worker)

    def _check_trusted(self, process: Process) -> None:
        """A lease is trusted for as long as a beat now and then succeeds."""
        if process in self.trust.leases and not (process.is_dead or self.trust.is_trusted(process)):
            self.model.lose_lease(process.name)

    def _line(self, command: Command, answer: object) -> str:
        first = 2 if command.name in ("EVALSHA", "EVAL") or command.arguments[0] in ("EVALSHA", "EVAL") else 1
        words = [str(one)[:60] for one in command.arguments[first:] if one not in self.keys.shared]
        lost = "" if command.fault is None else f" ({command.fault})"
        asked = f"{command.process.name:4} {command.name}{lost} {' '.join(words)}"
        return f"{self.kernel.now:8.3f} {asked} -> {str(answer)[:200]}"

    # --- what happens

    def start_worker(self, slot: str) -> None:
        """A worker, where there is none."""
        old = self.workers.get(slot)
        if slot not in self.settings or (old is not None and not old.process.is_dead):
            return
        settings = self.settings[slot]
        process = self.process(slot)
        process.on_exit = lambda: self._die_of(process)
        version = settings.get("version", "new")
        broker = self._broker(process, version=version)
        if settings["rule"] == "none":
            broker.worker.suspect_rule = SuspectRule.NONE
            ward = settings.get("ward", "")
            if ward != "unknown":
                broker.orders = lambda: self._orders(broker, ward, version)
        self.workers[slot] = Worker(process, broker, at_once=settings["at_once"], grace=settings["grace"])

    def start_producer(self, name: str) -> None:
        """A program that sends."""
        self.producers[name] = Producer(
            self.network, self.process(name), self.model, outcome_of=outcome_of, on_nothing=self.on_nothing
        )

    def start_scheduler(self, slot: str, catch_up: str = "latest") -> None:
        """A scheduler, where there is none."""
        old = self.schedulers.get(slot)
        if old is None or old.process.is_dead:
            process = self.process(slot)
            self.schedulers[slot] = Scheduler(self.network, process, tick=self._tick, catch_up=CatchUp(catch_up))

    def start_old_worker(self, slot: str) -> None:
        """A worker of the version before, beside the others."""
        if self.is_healing or (slot in self.old_workers and not self.old_workers[slot].is_dead):
            return
        self.model.has_old_version = True
        process = self.process(slot)
        host = SimulatedHost(self.network, process)
        program = SimulatedProgram(
            self.model,
            process,
            host.sleep,
            on_kill=lambda: self.kernel.after(0.0, lambda: self.kill_old_worker(slot)),
        )
        worker = OldWorker(
            host,
            program,
            self.keys,
            weights=WEIGHTS,
            options=OPTIONS,
            on_lease=lambda lease: self._on_lease(process, lease),
        )
        self.old_workers[slot] = process

        def end() -> None:
            program.cut()
            worker.end(on_end=lambda: self.kernel.after(0.0, lambda: self.kill_old_worker(slot)))

        process.on_signal.append(end)

    def end_old_worker(self, slot: str) -> None:
        """The old version is asked to end."""
        if slot in self.old_workers:
            self.old_workers[slot].signal()

    def send_from_old(self, sent: Sent, message: OldMessage) -> None:
        """A program of the version before sends a message, and ends some time after."""
        process = self.process("oldp")
        host, name = SimulatedHost(self.network, process), f"old{self._births}"
        sender = OldSender(host, name, self.keys, deadline=OPTIONS.send_deadline)
        self.model.ask(sent)

        def tell(answer: str) -> None:
            told = "sent" if answer == sent.task_id else answer or "failed"
            self.model.tell(sent, told)

        sender.send(message, tell)

    def kill_old_worker(self, slot: str) -> None:
        """The old version goes."""
        if slot in self.old_workers:
            self.old_workers[slot].kill()
            self.network.break_all(of=self.old_workers[slot])

    def kill_scheduler(self, slot: str) -> None:
        """A scheduler dies."""
        if slot in self.schedulers:
            self.schedulers[slot].process.kill()
            self.network.break_all(of=self.schedulers[slot].process)

    def operate(self, what: str, name: str) -> None:
        """Somebody changes a schedule."""
        if self.operator is None or self.operator.process.is_dead:
            self.operator = Operator(self.network, self.process("op"), self._tick, self.model.occurrences)
        self.operator.do(what, name)

    def kill_producer(self, name: str) -> None:
        """A program that sends dies, and another one takes its place."""
        self.producers[name].process.kill()
        self.network.break_all(of=self.producers[name].process)
        self.start_producer(name)

    def kill_operator(self) -> None:
        """Whoever changes schedules dies over it."""
        if self.operator is not None:
            self.operator.process.kill()
            self.network.break_all(of=self.operator.process)

    def kill(self, slot: str, *, restart: float | None) -> None:
        """A process dies, and another one may take its place."""
        worker = self.workers.get(slot)
        if worker is not None:
            worker.process.kill()
            self.network.break_all(of=worker.process)
        if restart is not None:
            self.kernel.after(restart, lambda: self.start_worker(slot))

    def _broker(
        self, process: Process, queues: Mapping[str, int] = WEIGHTS, *, version: str = "new"
    ) -> SimulatedBroker:
        broker = SimulatedBroker(self.network, process, queues=queues)
        jobs: dict[str, Callable[..., Any]] = {"job": self._job(process), WIDE: self._job(process)}
        if version == "new":
            jobs |= {NEWS: self._job(process), WIDE: _wide(self._job(process))}
        for name, job in jobs.items():
            broker.register_task(job, task_name=name, types_of_exceptions=(Exception,))
        broker.register_task(self._tick, task_name="tick")
        broker.on_lease = self._on_lease
        return broker

    def _orders(self, broker: SimulatedBroker, what: str, version: str) -> Orders:
        """What a ward is told; `what` says whether it starts."""

        def start(orders: Orders, host: Process) -> WardChild:
            if what == "refused":
                raise OSError("no room for another process")
            process = self.process(f"{host.name}w")
            seconds = process.random.uniform(0.2, 1.0)
            ward = WardChild(host, process, self._broker(process, version=version), orders, seconds=seconds)
            self.wards.append(ward)
            return ward

        return Orders(
            place="simulated",
            queue=QUEUE,
            path=[],
            modules=[],
            tasks=["job", "tick", WIDE, *([NEWS] if version == "new" else [])],
            receiver=broker.receiver_options,
            name="ward",
            log_level=0,
            log_format=None,
            start=start,
        )

    def kill_ward(self, slot: str) -> None:
        """Somebody kills the process that a worker has for suspects."""
        for ward in self.wards:
            if ward.process.name == f"{slot}w" and not ward.process.is_dead:
                ward.is_killed(-9)
                self.network.break_all(of=ward.process)

    def _die_of(self, process: Process) -> None:
        """A process ends by itself, or a task has taken it down; its supervisor starts another."""
        for ward in self.wards:
            if ward.process is process:
                ward.is_killed(-9)
                self.network.break_all(of=process)
        for slot, worker in list(self.workers.items()):
            if worker.process is process:
                self.kill(slot, restart=0.7)

    def _on_lease(self, process: Process, lease: Lease) -> None:
        self.trust.leases[process] = lease

    @property
    def _tick(self) -> Callable[[], Any]:
        async def tick() -> None:
            delivery = current_delivery.get()
            if delivery is not None:
                self.model.occurrences.run(delivery.task_id)

        return tick

    def _job(self, process: Process) -> Callable[[int], Any]:
        async def job(uid: int) -> str:
            run = self.model.begin(uid, process)
            behaviour = self.model.sent[uid].behaviour
            how = behaviour.ends[min(run.number, len(behaviour.ends) - 1)]
            name = f"{uid}.{run.number}"
            try:
                await asyncio.sleep(behaviour.seconds)
                if how == "kill":
                    self.kernel.after(0.0, lambda: self._die_of(process))
                    await asyncio.sleep(3600.0)
            except asyncio.CancelledError:
                if self._has_kept(process):
                    self.model.cut(uid, run)
                if behaviour.is_stubborn:
                    self.model.end(uid, run, "error", is_final=False)
                    raise JobError(name) from None
                self.model.end(uid, run, "cut", is_final=False)
                if behaviour.clean_up:
                    await self._clean_up(uid, process)
                raise
            self._end(uid, run, how)
            if how == "error":
                raise JobError(name)
            return name

        return job

    async def _clean_up(self, uid: int, process: Process) -> None:
        try:
            await asyncio.sleep(self.model.sent[uid].behaviour.clean_up)
        except asyncio.CancelledError:
            if self._has_kept(process):
                self.model.cut_clean_up(uid, process)
            raise

    def _has_kept(self, process: AnyProcess) -> bool:
        """Whether a process lives on, is not to end, and has what it runs: nobody has ended its lease."""
        if not isinstance(process, Process) or process.was_frozen or self._is_to_end(process):
            return False
        return process in self.trust.leases and process not in self._fenced

    def _is_to_end(self, process: Process) -> bool:
        """Whether it has ended or was asked to: a ward is, where its worker is gone."""
        hosts = [ward.host for ward in self.wards if ward.process is process]
        return any(one.is_dead or one.was_asked_to_end for one in (process, *hosts))

    def _end(self, uid: int, run: Run, how: str) -> None:
        delivery = current_delivery.get()
        message = delivery.message if delivery is not None else None
        retries = int(message.labels.get("retries", 0)) if message is not None else 0
        is_final = how == "ok" or retries >= self.model.sent[uid].max_retries
        self.model.end(uid, run, how, is_final=is_final)

    # --- what Redis goes through

    def restart_redis(self, seconds: float, data: Sequence[tuple[bytes, int, bytes]] | None = None) -> None:
        """Redis is away for some seconds, and comes back with its data, or with others."""
        self.network.break_all()
        self.network.is_down = True
        self.network.restarts += 1
        self.free_memory()
        if data is not None:
            self.server.restore(data)
            self.network.let_expire()
        self.server.forget_scripts()
        self.kernel.after(seconds, self._redis_is_back)

    def _redis_is_back(self) -> None:
        self.network.is_down = False

    def take_snapshot(self) -> None:
        """Remember all data."""
        self._dump, self._dumped, self._dumped_at = self.server.dump(), self.found(), self.kernel.now

    def restore_snapshot(self, seconds: float) -> None:
        """Come back with what was remembered."""
        if self._dump is not None:
            self.restart_redis(seconds, self._dump)
            self._forget_the_dead()
            self._witnesses = self._living_witnesses()
            self._may_be_unnoticed |= self.kernel.now - self._dumped_at < 2 * OPTIONS.beat
            self.model.lose(self._dumped)

    def empty_redis(self, seconds: float) -> None:
        """Come back with nothing."""
        self.restart_redis(seconds, ())
        self._forget_the_dead()
        self.model.lose()

    def _forget_the_dead(self) -> None:
        """What workers had that were dead by now has no death counted when older data have them as alive."""
        living = {lease.worker for process, lease in self.trust.leases.items() if not process.is_dead}
        for worker in self.network.handed.keys() - living:
            del self.network.handed[worker]

    def _living_witnesses(self) -> list[Process]:
        """Which workers live that have beaten since the data were saved: no other one can see that they are older."""
        since = (self.kernel.now - self._dumped_at) * _SLOWEST_CLOCK
        processes = [one for one in self.trust.leases if isinstance(one, Process) and not one.is_dead]
        return [one for one in processes if one.local_time() - self.trust.leases[one].renewed_at < since]

    def set_clock(self, seconds: float) -> None:
        """Redis' clock is set. (Keys expire by real time, which is to say: not at all.)"""
        self.network.clock_offset_ms += int(seconds * 1000)
        if seconds < _SECONDS_WAITED_FOR:
            # Times that come again are sent again.
            self.model.occurrences.repeat()
        if seconds > OPTIONS.cancel_age:
            self.model.forget_marks()
        self._latest_clock_ms = max(self._latest_clock_ms, self.network.clock_offset_ms)

    def fill_memory(self, seconds: float) -> None:
        """Redis takes nothing more for some seconds."""
        self.server.wire.demand("CONFIG", "SET", "maxmemory", 1)
        self.kernel.after(seconds, self.free_memory)

    def free_memory(self) -> None:
        """Redis has room."""
        self.server.wire.demand("CONFIG", "SET", "maxmemory", 0)

    def take_rights(self, slot: str, rights: Sequence[str], seconds: float) -> None:
        """A process' user may not do all that it needs for some seconds; a command that it has no right to."""
        self.model.may_refuse = self.model.may_refuse or tuple(rights) != NO_CHANNELS
        self.network.rights[slot] = tuple(rights)
        self.kernel.after(seconds, lambda: self.network.rights.pop(slot, None))

    def _note_fired(self, command: Command, answer: object) -> None:
        """Count the scheduled times that were sent."""
        if not isinstance(answer, list):
            return
        arguments = command.arguments
        first = 3 + cast("int", arguments[2])
        script = (str(arguments[6]), int(arguments[first + 1]))
        if script in self._fired:
            # The same script once more: its answer is that of the first time.
            return
        self._fired.add(script)
        for place, outcome in enumerate(cast("list[bytes]", answer)[::2]):
            if outcome == b"sent":
                self.model.occurrences.fire(name_of_value(arguments[first + 4 + place * _FIELDS_OF_A_STEP + 8]))

    def _note_cancelled(self, command: Command, found: Sequence[Found]) -> None:
        """An entry was marked for the worker that has it."""
        first = 3 + cast("int", command.arguments[2])
        stream, entry = str(command.arguments[3]), cast("bytes", command.arguments[first + 1]).decode()
        for one in found:
            if one.uid is not None and (one.where, one.entry) == (stream, entry):
                process = self.network.taker(stream, entry)
                self.model.cancel_at(one.uid, process)
                if self.is_gentle and process is not None:
                    self._expect_end(one.uid, process)

    def _expect_end(self, uid: int, process: Process) -> None:
        """What is marked as cancelled, and runs, is cut off soon, where nothing disturbs its worker."""
        runs = [run for run in self.model.sent[uid].runs if run.process is process and run.is_going_on]

        def check() -> None:
            for run in runs:
                self.model.run_on(uid, run)

        self.kernel.after(_SECONDS_TO_CUT, check)

    def _note_testimony(self, _: Command, __: object) -> None:
        self._forgive_without_witness()

    def _note_older_data(self, _: Command, answer: object) -> None:
        if isinstance(answer, int):  # not where Redis does not know the script
            self._witnesses = None

    def _note_fenced(self, command: Command, answer: object) -> None:
        # What is known of the worker; the version before says 1.
        if answer != 1 and not isinstance(answer, list):
            return
        worker = name_of_value(command.arguments[3 + cast("int", command.arguments[2])])
        self._fenced_at[worker] = self.kernel.now
        self._forgive_without_witness()
        self._fenced |= {one for one, lease in self.trust.leases.items() if lease.worker == worker}
        self.model.lose_worker(self.network.handed.pop(worker, ()))
        for process, lease in self.trust.leases.items():
            if self.is_gentle and not process.is_dead and lease.worker == worker:
                self.model.lose_lease(worker)

    def _forgive_without_witness(self) -> None:
        if self._witnesses is not None and not any(map(self.trust.is_trusted, self._witnesses)):
            self.model.forgive()

    def plant_unreadable(self, value: bytes) -> None:
        """Somebody has put something else among the delayed messages; it is due now."""
        self._has_unreadable = True
        self.server.wire.ask("HSET", self.keys.delayed_messages, _UNREADABLE, value)
        self.server.wire.ask("ZADD", self.keys.delayed, self.network.now_ms(), _UNREADABLE)

    # --- the end

    def heal(self) -> None:
        """Everything is well again, and stays so."""
        self.is_healing = True
        for slot in self.old_workers:
            self.kill_old_worker(slot)
        self.network.faults.clear()
        self.network.rights.clear()
        self.network.stalled_until = 0.0
        self.free_memory()
        # A Redis that was restored has what was paused then.
        self.server.wire.ask("DEL", self.keys.paused)
        # What is due by the latest of all clocks that there were is due then.
        if self._latest_clock_ms > self.network.clock_offset_ms:
            self.set_clock((self._latest_clock_ms - self.network.clock_offset_ms) / 1000)
        for process in self.processes:
            process.thaw()
        for slot in self.settings:
            self.start_worker(slot)
        if self.uses_late_queue:
            process = self.process("late")
            self.workers["late"] = Worker(process, self._broker(process, {LATE_QUEUE: 1}), at_once=2, grace=2.0)
        for slot in self.schedulers:
            self.start_scheduler(slot)

    def is_over(self) -> bool:
        """Whether a promise is broken: what comes after that says nothing."""
        if self.kernel.error:
            self.model.fail(self.kernel.error)
        return bool(self.model.breaches)

    def is_calm(self) -> bool:
        """Whether nothing is left to do."""
        if self.network.is_down or any(not one.is_idle for one in self.producers.values()):
            return False
        return not any(one.kind in ("stream", "delayed", "key") for one in self.unfinished())

    def unfinished(self) -> list[Found]:
        """All that Redis has but what nobody can read, which is given a minute before it is buried."""
        return [one for one in self.found() if one.where != _UNREADABLE]

    def left(self) -> list[Left]:
        """The keys that Redis has."""
        found = self.server.keys()
        kept = {self.keys.delayed, self.keys.delayed_messages, f"{self.keys.delayed_messages}:unreadable"}
        expected = kept if self._has_unreadable else set[str]()
        if self._may_be_unnoticed:
            expected.add(self.keys.running)
        return [Left(name=name.removeprefix(QUEUE), expires=expires) for name, expires in found if name not in expected]

    def gone_but_known(self) -> list[str]:
        """What Redis still knows of workers that are gone."""
        living = {lease.worker for process, lease in self.trust.leases.items() if not process.is_dead}
        names = self.keys
        questions: dict[str, tuple[Value, ...]] = {
            "a worker": ("ZRANGE", names.workers, 0, -1),
            "what is known of worker": ("HKEYS", names.worker_info),
            "draining worker": ("SMEMBERS", names.draining),
            "what is run by worker": ("HKEYS", names.running),
        }
        questions |= {f"a consumer of {stream}": ("XINFO", "CONSUMERS", stream, GROUP) for stream in self._streams}
        found: dict[str, list[bytes]] = {}
        for what, answer in zip(questions, self.server.wire.ask_all(list(questions.values())), strict=True):
            some = cast("list[bytes] | list[list[bytes]]", answer) if isinstance(answer, list) else []
            found[what] = [one[1] if isinstance(one, list) else one for one in some]
        return [
            f"{what} {name.decode()}"
            for what, some in found.items()
            for name in sorted(some)
            if name.decode() not in living
        ]

    def results(self) -> dict[str, str]:
        """What became of each task, as Redis says."""
        tasks = list(self.model.of_task)
        if not tasks:
            return {}
        values = cast("list[bytes | None]", self.server.wire.demand("MGET", *map(self.keys.result, tasks)))
        return {task: outcome_of(decode_result(value)) for task, value in zip(tasks, values, strict=True) if value}

    def end(self) -> None:
        """All processes are gone."""
        for process in self.processes:
            process.kill()


@lru_cache(maxsize=4096)
def _found_in(row: bytes) -> Found:
    kind, uid, task, unique, where, entry, *deaths = row.decode().split("\t")
    return Found(
        kind=kind,
        uid=int(uid) if uid else None,
        task_id=task,
        unique=unique,
        where=where,
        entry=entry,
        deaths=int(deaths[0]) if deaths else 0,
    )


def _wide(job: Callable[[int], Any]) -> Callable[[int, int], Any]:
    async def wide(uid: int, extra: int) -> object:
        return extra and await job(uid)

    return wide


def outcome_of(result: TaskiqResult[Any]) -> str:
    """A result in a word: which run it is of, or what else became of the task."""
    if result.error is None:
        return f"ok:{result.return_value}"
    kind, arguments = type(result.error).__name__, result.error.args
    names = {"JobError": "error", "TaskCancelledError": "cancelled", "WorkerLostError": "lost"}
    names["TaskCutOffError"] = "cut"
    names |= {"UnknownTaskError": "unfit", "TypeError": "unfit"}
    detail = str(arguments[0]) if kind == "JobError" and arguments else ""
    return f"{names.get(kind, kind)}:{detail}"
