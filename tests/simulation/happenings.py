"""What may happen in a history, each thing at some time."""

from collections.abc import Callable
from typing import Final

from tests.simulation.chance import FAULTS, Chance
from tests.simulation.plan import Arguments
from tests.simulation.world import NO_CHANNELS

_SCRIPTS_OF_WORKERS: Final = (
    "settle",
    "acknowledge",
    "fetch",
    "give_back",
    "XREADGROUP",
    "ZADD",
    "ZCARD",
    "EXISTS",
    "reclaim",
    "move",
    "tend",
    "watch",
    "strays",
    "register",
    "fence",
    "testify",
    "condemn",
    "SET",
    "GET",
)
_SCRIPTS_OF_PRODUCERS: Final = ("send", "send", "cancel", "cancel_entry", "MGET", "resend", "resend_run", "XRANGE")
# Rights that a user may lack: commands in the middle of scripts, channels, and single keys.
RIGHTS: Final = (
    NO_CHANNELS,
    ("~*", "&*", "+@all", "-xdel"),
    ("~*", "&*", "+@all", "-xadd"),
    ("~*", "&*", "+@all", "-hset", "-hsetnx"),
    ("~*", "&*", "+@all", "-zadd"),
    ("~{s}:w*", "~{s}:e*", "~{s}:j*", "~{s}:l*", "~{s}:g*", "~{s}", "~{s}:queue*", "~{s}:r*", "~{s}:s*", "&*", "+@all"),
    ("%R~*", "&*", "+@all"),
)

# No message of this or any version; an empty table; a message of a later version: as hexadecimal digits.
_UNREADABLE: Final = ("6e6f6e65", "90", "95a37b737da0a178b97b227461736b5f6964223a2278222c2261726773223a5b5d7d63")


def _poison(chance: Chance) -> None:
    """A task that kills its worker."""
    chance.uid += 1
    ends = chance.random.choice((["kill"], ["kill", "ok"], ["kill", "kill", "ok"]))
    chance.add("send", by=chance.producer(), uid=chance.uid, seconds=0.2, ends=ends)


def _impatient(chance: Chance) -> None:
    """A caller that gives up."""
    chance.uid += 1
    give_up = chance.random.choice((0.001, 0.02, 0.2))
    args: Arguments = {"unique": "k"} if chance.random.random() < 0.4 else {}
    chance.add("send", by=chance.producer(), uid=chance.uid, seconds=0.1, give_up=give_up, **args)


def _cancel(chance: Chance) -> None:
    """A task is cancelled, near the time at which something happens to it."""
    random = chance.random
    if random.random() < 0.3 or not chance.tasks:
        _cancel_what_fails(chance)
        return
    task_id = random.choice(chance.tasks)
    sends = [one.at for one in chance.steps if one.args.get("task_id", f"t{one.args.get('uid')}") == task_id]
    near = random.choice(sends) + random.uniform(-0.5, 3.0) if sends else chance.at()
    at = max(round(near, 3), 0.0)
    chance.add("cancel", at, by=chance.producer(), task_id=task_id)
    disturb(chance, at)


def _cancel_what_fails(chance: Chance) -> None:
    """A task fails and is to be tried again, just when it is cancelled."""
    at, by = chance.at(), chance.producer()
    chance.uid += 1
    chance.add("send", at, by=by, uid=chance.uid, seconds=1.0, retries=2, ends=["error", "ok"])
    chance.add("cancel", at + chance.random.uniform(0.3, 1.2), by=by, task_id=f"t{chance.uid}")


def disturb(chance: Chance, cancelled: float) -> None:
    """What is cancelled changes its place meanwhile."""
    random = chance.random
    match random.choice(("", "", "kill", "deploy", "freeze")):
        case "kill":
            chance.add(
                "kill", cancelled + random.uniform(0.0, 0.8), slot=chance.slot(), restart=random.choice((0.2, 2.0))
            )
        case "deploy":
            at = max(cancelled + random.uniform(-2.2, 0.6), 0.0)
            chance.add("deploy", at, slot=chance.slot(), kill_after=random.choice((1.0, 4.0)), restart=0.2)
        case "freeze" if not chance.is_gentle:
            chance.add("freeze", cancelled, slot=chance.slot(), seconds=random.choice((3.0, 8.0)))
        case _:
            pass


def _twins(chance: Chance) -> None:
    """Two messages have one id, and are cancelled together."""
    random = chance.random
    at, delay = chance.at(), random.choice((0.0, 0.0, 3.0))
    chance.uid += 2
    task_id = f"t{chance.uid}"
    chance.tasks.append(task_id)
    for uid in (chance.uid - 1, chance.uid):
        args: Arguments = {"delay": delay} if delay else {}
        chance.add(
            "send", at, by=chance.producer(), uid=uid, task_id=task_id, seconds=random.choice((0.3, 2.5)), **args
        )
    at += random.choice((0.2, 0.6, 1.5))
    chance.add("cancel", at, by=chance.producer(), task_id=task_id)
    disturb(chance, at)


def _untaken(chance: Chance) -> None:
    """A task is sent to a queue that no worker takes yet, and cancelled there."""
    random, at = chance.random, chance.at()
    args: Arguments = {"unique": random.choice(("k", "l"))} if random.random() < 0.5 else {}
    if random.random() < 0.4:
        args["delay"] = random.choice((0.2, 1.0))
    uid = chance.job(at, queue="late", seconds=0.3, **args)
    if random.random() < 0.8:
        chance.add("cancel", at + random.choice((0.05, 0.5, 2.5)), by=chance.producer(), task_id=f"t{uid}")
    if random.random() < 0.3:
        chance.job(at + random.choice((0.1, 3.0)), queue="late", seconds=0.3, **args)


def _misfits(chance: Chance) -> None:
    """Messages that only workers of the newer version can run, where there are any."""
    random, at = chance.random, chance.at()
    for _ in range(random.choice((1, 1, 3))):
        args: Arguments = {"task": random.choice(("news", "wide")), "seconds": random.choice((0.0, 1.0))}
        if random.random() < 0.3:
            args["unique"] = "k"
        if random.random() < 0.3:
            args["wait"] = 30.0
        if random.random() < 0.2:
            args |= {"retries": 1, "ends": ["error", "ok"]}
        uid = chance.job(at, **args)
        if random.random() < 0.3:
            chance.add("cancel", at + random.uniform(0.1, 4.0), by=chance.producer(), task_id=f"t{uid}")


def _letters(chance: Chance) -> None:
    """Dead letters are sent again, or dropped."""
    at = chance.at()
    chance.uid += 1
    chance.add("send", max(at - 1.0, 0.0), by=chance.producer(), uid=chance.uid, seconds=0.05, ends=["error", "ok"])
    chance.add(chance.random.choice(("retry_letters", "retry_letters", "purge")), at, by=chance.producer())


def _failed_runs(chance: Chance) -> None:
    """A task fails, and one or two operators send it again."""
    random, at, seconds = chance.random, chance.at(), chance.random.choice((0.0, 0.3))
    args: Arguments = random.choice(({}, {"unique": "k"}, {"queue": "other"}, {"acks": "when_received"}))
    uid = chance.job(at, seconds=seconds, ends=random.choice((["error", "ok"], ["error"])), **args)
    at += seconds + random.uniform(0.05, 2.0)
    by = chance.producer()
    chance.add("resend_runs", at, by=by)
    if random.random() < 0.5:
        chance.add("resend_runs", at + random.choice((0.0, 0.01, 0.1, 2.0)), by=chance.producer())
    if random.random() < 0.3:
        kind, seconds = random.choice(FAULTS), random.choice((0.3, 2.0, 6.0))
        chance.add("fault", max(at - 0.01, 0.0), of=by, kind=kind, script="resend_run", seconds=seconds)
    match random.choice(("", "", "cancel", "send", "kill", "kill_producer")):
        case "cancel":
            near = max(at + random.uniform(-0.1, 0.3), 0.0)
            chance.add("cancel", near, by=chance.producer(), task_id=f"t{uid}")
        case "send":
            chance.job(max(at + random.uniform(-0.05, 0.1), 0.0), task_id=f"t{uid}", seconds=0.3, **args)
        case "kill":
            chance.add("kill", at + random.uniform(0.0, 0.5), slot=chance.slot(), restart=0.2)
        case "kill_producer":
            chance.add("kill_producer", at + random.uniform(0.0, 0.2), by=by)
        case _:
            pass


def _kill(chance: Chance) -> None:
    """A worker dies."""
    chance.add("kill", slot=chance.slot(), restart=chance.random.choice((0.2, 2.0)))


def _kill_producer(chance: Chance) -> None:
    """A program that sends dies, often in the middle of it."""
    sends = [one for one in chance.steps if one.do in ("send", "send_many", "cancel", "retry_letters", "resend_runs")]
    step = chance.random.choice(sends)
    at = round(step.at + chance.random.choice((0.001, 0.01, 0.1, 1.0)), 3)
    chance.add("kill_producer", at, by=step.args["by"])


def _massacre(chance: Chance) -> None:
    """All workers are killed again and again, whatever they do: no task is to blame."""
    at, by = chance.random.uniform(0.0, 2.0), chance.producer()
    chance.uid += 1
    chance.add("send", at, by=by, uid=chance.uid, seconds=8.0)
    is_asked = chance.random.random() < 0.5
    for time in (at + 1.5, at + 9.0, at + 16.5):
        for slot in chance.slots:
            if is_asked:
                chance.add("deploy", time, slot=slot, kill_after=0.3, restart=0.2)
            else:
                chance.add("kill", time, slot=slot, restart=0.2)
    chance.seconds = max(chance.seconds, at + 17.0)


def _deploy(chance: Chance) -> None:
    """A worker is asked to end, and killed where it does not."""
    after = chance.random.choice((0.05, 1.0, 4.0))
    chance.add("deploy", slot=chance.slot(), kill_after=after, restart=chance.random.choice((0.2, 1.0)))


def _freeze(chance: Chance) -> None:
    """A process stands still."""
    random = chance.random
    seconds = random.choice((0.5, 3.0, random.uniform(4.4, 6.0), 8.0))
    if random.random() < 0.8:
        at = chance.at()
        # Long enough to see what comes of it, and with something to do.
        chance.seconds = max(chance.seconds, at + seconds + 1.0)
        chance.uid += 1
        chance.add("send", max(at - 0.3, 0.0), by=chance.producer(), uid=chance.uid, seconds=2.5)
        chance.add("freeze", at, slot=chance.slot(), seconds=seconds)
    else:
        chance.add("freeze_producer", by=chance.producer(), seconds=seconds)


def _fault(chance: Chance) -> None:
    """A command is lost or late."""
    random = chance.random
    of = chance.anyone()
    scripts = _SCRIPTS_OF_PRODUCERS if of.startswith("p") else _SCRIPTS_OF_WORKERS
    chance.add(
        "fault",
        of=of,
        kind=random.choice(FAULTS),
        script=random.choice(scripts),
        count=random.choice((1, 1, 2)),
        seconds=random.choice((0.3, 2.0, 6.0)),
    )


def _lost_answer(chance: Chance) -> None:
    """The answer to a certain send is lost, or comes late."""
    random = chance.random
    if random.random() < 0.3:
        chance.add("fault", of=chance.slot(), kind="answer-lost", script="EXISTS")
        return
    sends = [one for one in chance.steps if one.do in ("send", "send_many")]
    sent = random.choice([one for one in sends if one.args.get("unique")] or sends)
    kind = random.choice(("answer-lost", "answer-lost", "late"))
    at = max(round(sent.at - 0.001, 3), 0.0)
    chance.add("fault", at, of=sent.args["by"], kind=kind, script="send", count=1, seconds=6.0)


def _crowd(chance: Chance) -> None:
    """Two sends of one moment, one in vain since its key is held; their batch is lost, or its answer."""
    random = chance.random
    at, by = chance.at(), chance.producer()
    first = chance.uid + 1
    chance.uid += 3
    chance.tasks += [f"t{uid}" for uid in range(first, first + 3)]
    chance.add("send", at, by=chance.producer(), uid=first, unique="k", seconds=2.5)
    impatient: Arguments = {"uid": first + 1, "unique": "l", "give_up": random.choice((0.05, 0.3, 2.0))}
    held: Arguments = {"uid": first + 2, "unique": "k", "wait": 5.0}
    kind = random.choice(("answer-lost", "request-lost", "request-lost"))
    at += 0.4
    chance.add("fault", at - 0.01, of=by, kind=kind, script="send", count=random.choice((1, 3)))
    chance.add("send_together", at, by=by, sends=[impatient, held])


def _refused(chance: Chance) -> None:
    """No worker may do all that it needs when a task ends, is given back or taken over."""
    random = chance.random
    at, rights = chance.at(), list(random.choice(RIGHTS[:4]))
    seconds = random.choice((0.3, 2.5))
    for slot in chance.slots:
        chance.add("rights", at + 0.2, of=slot, rights=rights, seconds=random.choice((3.0, 8.0, 8.0)))
    chance.uid += 3
    for uid in range(chance.uid - 2, chance.uid + 1):
        args: Arguments = random.choice(({}, {"retries": 2, "ends": ["error", "ok"]}, {"unique": "k"}))
        chance.add("send", at, by=chance.producer(), uid=uid, seconds=seconds, **args)
    match random.choice(("kill", "deploy", "deploy", "")):
        case "kill":
            chance.add("kill", at + 0.4, slot=chance.slot(), restart=2.0)
        case "deploy":
            chance.add("deploy", at + 0.4, slot=chance.slot(), kill_after=4.0, restart=1.0)
        case _:
            pass


def _cut(chance: Chance) -> None:
    """Connections are cut."""
    chance.add("cut", of=chance.random.choice((None, chance.anyone())))


def _redis(chance: Chance) -> None:
    """Redis stands still, or is started anew."""
    random = chance.random
    if random.random() < 0.5:
        chance.add("stall", seconds=random.choice((0.5, 3.0, 6.0)))
    else:
        chance.add("redis_restart", seconds=random.choice((0.2, 2.0, 9.0)))


def _loss(chance: Chance) -> None:
    """Redis loses data."""
    random = chance.random
    if random.random() < 0.6:
        at = chance.at()
        chance.add("snapshot", at)
        chance.add(
            "restore", min(at + random.uniform(0.2, 4.0), chance.seconds - 0.5), seconds=random.choice((0.2, 3.0))
        )
    else:
        chance.add("empty", seconds=random.choice((0.2, 3.0)))


def _clock(chance: Chance) -> None:
    """Redis' clock is set."""
    seconds = chance.random.choice((-86_400.0, -600.0, -10.0, 10.0, 600.0, 86_400.0))
    chance.add("clock", seconds=seconds)


def _pause(chance: Chance) -> None:
    """A queue, a task or one call is paused, and resumed later; its tasks come before, meanwhile and after."""
    random, at = chance.random, chance.at()
    kind, name = random.choice((("queue", "default"), ("task", "job"), ("calls", "job")))
    seconds = random.choice((0.5, 2.0, 7.0))
    chance.add("pause", at, kind=kind, name=name, seconds=seconds, uid=chance.uid + 1)
    for _ in range(random.choice((1, 3))):
        chance.job(max(at + random.uniform(-1.0, seconds), 0.0), seconds=random.choice((0.0, 1.0)))
    if random.random() < 0.5:
        chance.add("kill", at + random.uniform(0.0, seconds), slot=chance.slot(), restart=0.2)
    chance.last(at + seconds + 1.0)


def _flush(chance: Chance) -> None:
    """Redis forgets the scripts."""
    chance.add("script_flush")


def _full(chance: Chance) -> None:
    """Redis is full."""
    at, seconds = chance.at(), chance.random.choice((0.3, 2.0, 5.0, 12.0, 40.0))
    # Longer than a lease: nobody may lose it by this.
    chance.seconds = max(chance.seconds, at + seconds)
    chance.add("full", at, seconds=seconds)


def _unreadable(chance: Chance) -> None:
    """Something is among the delayed messages that no worker can read."""
    chance.add("unreadable", value=chance.random.choice(_UNREADABLE))


def _rights(chance: Chance) -> None:
    """A process' user may not do all that it needs."""
    rights = list(chance.random.choice(RIGHTS))
    chance.add("rights", of=chance.anyone(), rights=rights, seconds=chance.random.choice((0.5, 3.0)))


def _old_version(chance: Chance) -> None:
    """A worker of the version before runs beside the others for some seconds."""
    random = chance.random
    chance.add("old_worker", slot="old", seconds=random.choice((1.0, 4.0, 20.0)), ends=random.random() < 0.5)


def _old_sender(chance: Chance) -> None:
    """Programs of the version before send beside the others."""
    random, at = chance.random, chance.at()
    for _ in range(random.choice((1, 3))):
        args: Arguments = {"seconds": random.choice((0.0, 0.3, 2.5))}
        if random.random() < 0.4:
            args["unique"] = random.choice(("k", "l"))
        if random.random() < 0.3:
            args["delay"] = random.choice((0.2, 1.0))
        if random.random() < 0.2:
            args["queue"] = "other"
        chance.uid += 1
        chance.tasks.append(f"t{chance.uid}")
        chance.add("old_send", at + random.uniform(0.0, 1.0), uid=chance.uid, **args)
    if random.random() < 0.3:
        kind, seconds = random.choice(FAULTS), random.choice((0.3, 6.0))
        chance.add("fault", at, of="oldp", kind=kind, script="send", seconds=seconds)


HAPPENINGS: Final[dict[str, Callable[[Chance], None]]] = {
    "poison": _poison,
    "impatient": _impatient,
    "cancel": _cancel,
    "twins": _twins,
    "untaken": _untaken,
    "misfits": _misfits,
    "letters": _letters,
    "failed_runs": _failed_runs,
    "kill": _kill,
    "kill_producer": _kill_producer,
    "massacre": _massacre,
    "deploy": _deploy,
    "freeze": _freeze,
    "fault": _fault,
    "lost_answer": _lost_answer,
    "crowd": _crowd,
    "refused": _refused,
    "cut": _cut,
    "redis": _redis,
    "loss": _loss,
    "clock": _clock,
    "flush": _flush,
    "pause": _pause,
    "full": _full,
    "unreadable": _unreadable,
    "rights": _rights,
    "old_version": _old_version,
    "old_sender": _old_sender,
}

# For these no living worker loses its lease.
GENTLE: Final = (
    *(
        "poison",
        "impatient",
        "cancel",
        "twins",
        "untaken",
        "misfits",
        "letters",
        "failed_runs",
        "kill",
        "kill_producer",
        "massacre",
        "deploy",
        "flush",
        "pause",
        "full",
    ),
    "unreadable",
)
