"""What may happen to a world, each as a plan names it."""

# ruff: noqa: ANN401  # a plan's arguments are JSON

import json
from collections.abc import Callable
from typing import Any, Final

from tests.invariants.facts import Behaviour, Sent
from tests.simulation.network import FaultKind, NetworkFault
from tests.simulation.plan import Arguments
from tests.simulation.product import LATE_QUEUE
from tests.simulation.version_n.sender import OldMessage
from tests.simulation.world import World

from kiqstart.broker.pauses import Pausable, field_of


def _sent(uid: int, args: Arguments) -> Sent:
    behaviour = Behaviour(
        seconds=args.get("seconds", 0.1),
        ends=tuple(args.get("ends", ("ok",))),
        is_stubborn=args.get("stubborn", False),
        clean_up=args.get("clean_up", 0.0),
    )
    return Sent(
        uid=uid,
        task_id=args.get("task_id") or f"t{uid}",
        behaviour=behaviour,
        unique=args.get("unique", ""),
        max_retries=args.get("retries", 0),
        acks=args.get("acks", ""),
        needs_new=args.get("task", "job") != "job",
    )


def _send(world: World, *, by: str, uid: int, **args: Any) -> None:
    sent = _sent(uid, args)
    producer = world.producers[by]
    world.uses_late_queue |= args.get("queue") == LATE_QUEUE
    queue, task = args.get("queue", ""), args.get("task", "job")
    work = producer.send(sent, task=task, delay=args.get("delay", 0.0), queue=queue, wait=args.get("wait"))
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
    producer.do(producer.send_many([_sent(uid, args) for uid in uids], delay=args.get("delay", 0.0)))


def _cancel(world: World, *, by: str, task_id: str) -> None:
    world.producers[by].do(world.producers[by].cancel(task_id))


def _retry_letters(world: World, *, by: str) -> None:
    world.producers[by].do(world.producers[by].retry_letters())


def _resend_runs(world: World, *, by: str) -> None:
    world.producers[by].do(world.producers[by].resend_runs())


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


def _kill_both(world: World, *, slot: str, gap: float, restart: float) -> None:
    """Somebody kills what a worker has for suspects, and right after the worker."""
    world.kill_ward(slot)
    world.kernel.after(gap, lambda: world.kill(slot, restart=restart))


def _freeze(world: World, *, slot: str, seconds: float) -> None:
    worker = world.workers.get(slot)
    if worker is not None and not worker.process.is_dead:
        worker.process.freeze()
        world.kernel.after(seconds, worker.process.thaw)


def _freeze_ward(world: World, *, slot: str, seconds: float) -> None:
    for ward in world.wards:
        if ward.process.name == f"{slot}w" and not ward.process.is_dead:
            ward.process.freeze()
            world.kernel.after(seconds, ward.process.thaw)


def _freeze_producer(world: World, *, by: str, seconds: float) -> None:
    process = world.producers[by].process
    process.freeze()
    world.kernel.after(seconds, process.thaw)


def _kill_producer(world: World, *, by: str) -> None:
    world.kill_producer(by)


def _freeze_operator(world: World, *, seconds: float) -> None:
    if world.operator is not None:
        world.operator.process.freeze()
        world.kernel.after(seconds, world.operator.process.thaw)


def _kill_operator(world: World) -> None:
    world.kill_operator()


def _fault(world: World, *, of: str, kind: str, script: str = "", count: int = 1, seconds: float = 0.0) -> None:
    fault = NetworkFault(kind=FaultKind(kind), script=script, count=count, seconds=seconds)
    world.network.faults.setdefault(of, []).append(fault)


def _cut(world: World, *, of: str | None = None) -> None:
    for process in world.processes:
        if of in (None, process.name) and not process.is_dead:
            world.network.break_all(of=process)


def _stall(world: World, *, seconds: float) -> None:
    world.network.stalled_until = world.kernel.now + seconds


def _pause(world: World, *, kind: str, name: str, seconds: float, uid: int = 0) -> None:
    """Somebody pauses a queue, a task, or its calls with this uid, and resumes it later."""
    if kind == Pausable.QUEUE:
        name = world.keys.stream(name)
    where = {"uid": str(uid)} if kind == "calls" else {}
    field = field_of(Pausable.TASK if where else Pausable(kind), name, where)
    world.has_paused = True
    world.server.wire.ask("HSET", world.keys.paused, field, "{}")
    world.kernel.after(seconds, lambda: world.server.wire.ask("HDEL", world.keys.paused, field))


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


def _old_worker(world: World, *, slot: str, seconds: float, ends: bool = False) -> None:
    """Runs for some seconds; then it is killed, or ends as it should."""
    world.start_old_worker(slot)
    stop = world.end_old_worker if ends else world.kill_old_worker
    world.kernel.after(seconds, lambda: stop(slot))


def _old_send(world: World, *, uid: int, **args: Any) -> None:
    sent = _sent(uid, args)
    content: dict[str, object] = {
        "task_id": sent.task_id,
        "task_name": "job",
        "labels": {},
        "labels_types": {},
        "args": [uid],
        "kwargs": {},
    }
    message = OldMessage(
        task_id=sent.task_id,
        queue=args.get("queue", "default"),
        unique=sent.unique,
        delay=args.get("delay", 0.0),
        data=json.dumps(content, separators=(",", ":")).encode(),
    )
    world.send_from_old(sent, message)


# What takes nobody's lease who lives.
GENTLE: Final = frozenset(
    {
        "send",
        "send_many",
        "old_send",
        "cancel",
        "retry_letters",
        "resend_runs",
        "purge",
        "kill",
        "kill_both",
        "deploy",
        "freeze_producer",
        "kill_producer",
        "script_flush",
        "pause",
        "full",
    }
    | {"unreadable", "scheduler", "kill_scheduler", "freeze_scheduler", "operate", "freeze_operator", "kill_operator"}
)
DOINGS: Final[dict[str, Callable[..., None]]] = {
    "send": _send,
    "send_together": _send_together,
    "send_many": _send_many,
    "cancel": _cancel,
    "retry_letters": _retry_letters,
    "resend_runs": _resend_runs,
    "purge": _purge,
    "kill": _kill,
    "kill_both": _kill_both,
    "deploy": _deploy,
    "freeze": _freeze,
    "freeze_ward": _freeze_ward,
    "freeze_producer": _freeze_producer,
    "kill_producer": _kill_producer,
    "fault": _fault,
    "cut": _cut,
    "stall": _stall,
    "pause": _pause,
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
    "freeze_operator": _freeze_operator,
    "kill_operator": _kill_operator,
    "old_worker": _old_worker,
    "old_send": _old_send,
}
