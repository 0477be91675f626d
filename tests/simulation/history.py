"""Plans, and how they come to pass."""

# ruff: noqa: ANN401  # a plan's arguments are JSON

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.invariants.facts import Behaviour, Sent
from tests.invariants.leftovers import unexpected
from tests.simulation.network import FaultKind, NetworkFault
from tests.simulation.patches import simulated
from tests.simulation.producer import Producer
from tests.simulation.scheduler import TABLE
from tests.simulation.server import Server
from tests.simulation.world import World, outcome_of

# Virtual seconds within which all that was sent must have ended, once everything is well; and what tidying takes.
_LONGEST_END: Final = 150.0
_SECONDS_TO_TIDY: Final = 8.0
_SECONDS_TO_SCHEDULE: Final = 12.0

Arguments = dict[str, Any]


@dataclass(kw_only=True)
class Step:
    """Something that happens to the world at a time.

    Args:
        at: seconds since it began.
        do: a function of `_DOINGS`.
    """

    at: float
    do: str
    args: Arguments = field(default_factory=dict[str, Any])


@dataclass(kw_only=True)
class Plan:
    """A history before it has happened.

    Args:
        seed: of all that happens by chance on the way.
        workers: their slots, each with its rule for suspects, its capacity and its seconds of grace.
        producers: how many.
        seconds: from when on all is well.
    """

    seed: int
    workers: dict[str, dict[str, Any]]
    producers: int
    seconds: float
    steps: list[Step]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a history.

    Args:
        broken: the promise that did not hold, or ''.
        seconds: virtual.
    """

    broken: str
    seconds: float
    commands: int
    runs: int


def play(plan: Plan, server: Server, *, trace: Callable[[str], None] | None = None) -> Verdict:
    """Let a plan come to pass; `trace` is told of each command."""
    # Entries have real times in their ids; virtual ones begin there, at the same place among scheduled times each time.
    world = World(server, plan.seed, int(time.time()) // 60 * 60_000)
    world.trace = trace
    with simulated(world.kernel):
        try:
            _begin(world, plan)
            world.kernel.run(plan.seconds, world.is_over)
            if not world.is_over():
                _finish(world)
        finally:
            world.end()
    runs = sum(len(sent.runs) for sent in world.model.sent.values())
    return Verdict(broken=world.model.broken, seconds=world.kernel.now, commands=world.network.executed, runs=runs)


def _begin(world: World, plan: Plan) -> None:
    for number in range(plan.producers):
        name = f"p{number}"
        world.producers[name] = Producer(world.network, world.process(name), world.model, outcome_of)
    world.settings = plan.workers
    world.is_gentle = all(step.do in _GENTLE for step in plan.steps)
    for slot in plan.workers:
        world.start_worker(slot)
    for step in plan.steps:
        call = _DOINGS[step.do]
        world.kernel.at(step.at, partial(call, world, **step.args))


def _finish(world: World) -> None:
    world.heal()
    if world.schedulers:
        _finish_schedules(world)
    until = world.kernel.now + _LONGEST_END
    calm_since: float | None = None
    while world.kernel.now < until and not world.is_over():
        if not world.is_calm():
            calm_since = None
        elif calm_since is None:
            calm_since = world.kernel.now
        elif world.kernel.now - calm_since >= _SECONDS_TO_TIDY and not unexpected(world.left()):
            break
        world.kernel.run(world.kernel.now + 1.0, world.is_over)
    if not world.is_over():
        world.model.check_end(world.unfinished(), world.results())
        world.model.check_left(world.left())


def _finish_schedules(world: World) -> None:
    """All schedules go on; then there are no schedulers any more."""
    until = world.kernel.now + _SECONDS_TO_SCHEDULE
    world.kernel.run(until, world.is_over)
    if not (world.network.is_down or world.model.broken):
        world.model.occurrences.check_going_on(TABLE)
    for slot in world.schedulers:
        world.kill_scheduler(slot)


def _sent(uid: int, args: Arguments) -> Sent:
    behaviour = Behaviour(
        seconds=args.get("seconds", 0.1),
        ends=tuple(args.get("ends", ("ok",))),
        is_stubborn=args.get("stubborn", False),
    )
    return Sent(
        uid=uid,
        task_id=args.get("task_id") or f"t{uid}",
        behaviour=behaviour,
        unique=args.get("unique", ""),
        max_retries=args.get("retries", 0),
    )


def _send(world: World, *, by: str, uid: int, **args: Any) -> None:
    sent = _sent(uid, args)
    producer = world.producers[by]
    work = producer.send(sent, delay=args.get("delay", 0.0), queue=args.get("queue", ""), wait=args.get("wait"))
    producer.do(work, give_up=args.get("give_up"))


def _send_together(world: World, *, by: str, sends: list[Arguments]) -> None:
    producer = world.producers[by]
    producer.do_all(
        [
            (producer.send(_sent(args["uid"], args), delay=0.0, queue="", wait=args.get("wait")), args.get("give_up"))
            for args in sends
        ]
    )


def _send_many(world: World, *, by: str, uids: list[int], **args: Any) -> None:
    producer = world.producers[by]
    producer.do(producer.send_many([_sent(uid, args) for uid in uids]))


def _cancel(world: World, *, by: str, task_id: str) -> None:
    world.producers[by].do(world.producers[by].cancel(task_id))


def _retry_letters(world: World, *, by: str) -> None:
    world.producers[by].do(world.producers[by].retry_letters())


def _purge(world: World, *, by: str) -> None:
    world.model.forget_letters(world.found())
    world.producers[by].do(world.producers[by].purge())


def _kill(world: World, *, slot: str, restart: float) -> None:
    world.kill(slot, restart=restart)


def _deploy(world: World, *, slot: str, kill_after: float, restart: float) -> None:
    worker = world.workers.get(slot)
    if worker is None or worker.process.is_dead:
        return
    worker.ask_to_end()

    def end() -> None:
        if world.workers.get(slot) is worker:
            world.kill(slot, restart=restart)

    world.kernel.after(kill_after, end)


def _freeze(world: World, *, slot: str, seconds: float) -> None:
    worker = world.workers.get(slot)
    if worker is not None and not worker.process.is_dead:
        worker.process.freeze()
        world.kernel.after(seconds, worker.process.thaw)


def _freeze_producer(world: World, *, by: str, seconds: float) -> None:
    process = world.producers[by].process
    process.freeze()
    world.kernel.after(seconds, process.thaw)


def _fault(world: World, *, of: str, kind: str, script: str = "", count: int = 1, seconds: float = 0.0) -> None:
    fault = NetworkFault(kind=FaultKind(kind), script=script, count=count, seconds=seconds)
    world.network.faults.setdefault(of, []).append(fault)


def _cut(world: World, *, of: str | None = None) -> None:
    for process in world.processes:
        if of in (None, process.name) and not process.is_dead:
            world.network.break_all(of=process)


def _stall(world: World, *, seconds: float) -> None:
    world.network.stalled_until = world.kernel.now + seconds


def _script_flush(world: World) -> None:
    world.server.forget_scripts()


def _redis_restart(world: World, *, seconds: float) -> None:
    world.restart_redis(seconds)


def _snapshot(world: World) -> None:
    world.take_snapshot()


def _restore(world: World, *, seconds: float) -> None:
    world.restore_snapshot(seconds)


def _empty(world: World, *, seconds: float) -> None:
    world.empty_redis(seconds)


def _clock(world: World, *, seconds: float) -> None:
    world.set_clock(seconds)


def _unreadable(world: World, *, value: str) -> None:
    world.plant_unreadable(bytes.fromhex(value))


def _full(world: World, *, seconds: float) -> None:
    world.fill_memory(seconds)


def _rights(world: World, *, of: str, rights: list[str], seconds: float) -> None:
    world.take_rights(of, rights, seconds)


def _scheduler(world: World, *, slot: str, missed: str = "latest") -> None:
    world.start_scheduler(slot, missed)


def _kill_scheduler(world: World, *, slot: str) -> None:
    world.kill_scheduler(slot)


def _freeze_scheduler(world: World, *, slot: str, seconds: float) -> None:
    scheduler = world.schedulers.get(slot)
    if scheduler is not None:
        scheduler.process.freeze()
        world.kernel.after(seconds, scheduler.process.thaw)


def _operate(world: World, *, what: str, name: str) -> None:
    world.operate(what, name)


def _old_worker(world: World, *, slot: str, seconds: float) -> None:
    world.start_old_worker(slot)
    world.kernel.after(seconds, lambda: world.kill_old_worker(slot))


# What takes nobody's lease who lives.
_GENTLE: Final = frozenset(
    {
        "send",
        "send_many",
        "cancel",
        "retry_letters",
        "purge",
        "kill",
        "deploy",
        "freeze_producer",
        "script_flush",
        "full",
    }
    | {"unreadable", "scheduler", "kill_scheduler", "freeze_scheduler", "operate"}
)
_DOINGS: Final[dict[str, Callable[..., None]]] = {
    "send": _send,
    "send_together": _send_together,
    "send_many": _send_many,
    "cancel": _cancel,
    "retry_letters": _retry_letters,
    "purge": _purge,
    "kill": _kill,
    "deploy": _deploy,
    "freeze": _freeze,
    "freeze_producer": _freeze_producer,
    "fault": _fault,
    "cut": _cut,
    "stall": _stall,
    "script_flush": _script_flush,
    "redis_restart": _redis_restart,
    "snapshot": _snapshot,
    "restore": _restore,
    "empty": _empty,
    "clock": _clock,
    "full": _full,
    "unreadable": _unreadable,
    "rights": _rights,
    "scheduler": _scheduler,
    "kill_scheduler": _kill_scheduler,
    "freeze_scheduler": _freeze_scheduler,
    "operate": _operate,
    "old_worker": _old_worker,
}
