"""Races: several things that happen at just the wrong moments, each of which a step of the protocol has to bear."""

from collections.abc import Callable
from typing import Final

from tests.simulation.chance import BEATS, FAULTS, SLOTS, Chance
from tests.simulation.plan import Arguments

# What the tasks are like whose workers have died; and what may happen when they run in a process of their own.
_SUSPECTS: Final[tuple[Arguments, ...]] = (
    {},
    {"unique": "k"},
    {"ends": ["kill"]},
    {"ends": ["kill", "kill", "kill", "ok"]},
    {"ends": ["ok", "ok", "error", "ok"], "retries": 2},
    {"stubborn": True},
    {"acks": "when_received"},
    {"acks": "when_received", "ends": ["kill"]},
    {"wait": 30.0},
)
_TROUBLES: Final[tuple[tuple[str, Arguments], ...]] = (
    ("cancel", {}),
    ("fault", {}),
    ("freeze", {"seconds": 3.0}),
    ("freeze", {"seconds": 8.0}),
    ("freeze_ward", {"seconds": 3.0}),
    ("freeze_ward", {"seconds": 8.0}),
    ("kill", {"restart": 0.2}),
    ("kill_both", {"gap": 0.3, "restart": 0.2}),
    ("deploy", {"kill_after": 4.0, "restart": 0.2}),
    ("redis_restart", {"seconds": 2.0}),
    ("empty", {"seconds": 0.2}),
    ("restore", {"seconds": 0.2}),
    ("clock", {"seconds": -600.0}),
    ("full", {"seconds": 8.0}),
)
_SCRIPTS_OF_WARDS: Final = ("fetch", "settle", "acknowledge", "register", "ZADD", "watch", "give_back", "leave")
_EARLY: Final[tuple[Arguments, ...]] = (
    *(
        {},
        {"unique": "k"},
        {"unique": "l"},
        {"unique": "k", "wait": 30.0},
        {"retries": 2, "ends": ["error", "ok"]},
        {"ends": ["kill"]},
    ),
    *({"ends": ["error"], "retries": 1}, {"stubborn": True}, {"delay": 0.2}),
)
_TROUBLES_OF_EARLY: Final = (
    *("kill", "kill", "kill", "deploy", "freeze", "cancel", "fault", "rights", "full", "restore", "empty"),
)
_NO_REMOVAL: Final = (["~*", "&*", "+@all", "-xdel"], ["~*", "&*", "+@all", "-xack"])


def _half_a_move(chance: Chance) -> None:
    """Whoever gives tasks back, or takes them over, may add entries and not remove them."""
    random, at = chance.random, chance.random.uniform(0.2, 3.0)
    slot = chance.slot()
    chance.settings[slot] = {"grace": 0.5, "at_once": 4}
    for _ in range(random.randint(2, 5)):
        chance.job(at, seconds=random.choice((2.5, 4.0)), **random.choice(({}, {"unique": "k"})))
    for one in chance.slots:
        chance.add("rights", at + 0.3, of=one, rights=random.choice(_NO_REMOVAL), seconds=random.choice((3.0, 8.0)))
    if random.random() < 0.7:
        chance.add("deploy", at + 0.5, slot=slot, kill_after=4.0, restart=1.0)
    else:
        chance.add("kill", at + 0.5, slot=slot, restart=2.0)
    chance.last(at + 5.0)


def _twins_apart(chance: Chance) -> None:
    """Of two messages with one id, one waits, and is cancelled first, and the other fails before it is come upon."""
    random, at, by = chance.random, chance.random.uniform(0.2, 0.6), chance.producer()
    chance.slots = SLOTS[:1]
    chance.settings["w0"] = {"at_once": 1}
    uid = chance.job(at, queue="other", seconds=1.2, retries=2, ends=["error", "ok"])
    chance.job(at + 0.3, task_id=f"t{uid}", seconds=0.3)
    chance.add("fault", at + 0.35, of=by, kind="late", script="XRANGE", count=8, seconds=random.uniform(0.05, 0.25))
    chance.add("cancel", at + random.uniform(0.4, 0.7), by=by, task_id=f"t{uid}")
    chance.last(at + 5.0)


def _beat_before_the_fence(chance: Chance) -> None:
    """A worker stands still, and beats again just before its lease is ended, which takes its time to arrive."""
    random, at = chance.random, chance.random.uniform(0.5, 3.0)
    chance.slots = SLOTS[: random.choice((2, 2, 3))]
    chance.settings |= {slot: {"at_once": 4} for slot in chance.slots}
    frozen = chance.slot()
    for _ in range(random.randint(2, 4)):
        chance.job(at - 0.3, seconds=random.choice((8.0, 10.0)))
    for slot in chance.slots:
        if slot != frozen:
            chance.add("fault", at, of=slot, kind="late", script="fence", seconds=random.uniform(0.4, 1.7))
    seconds = random.uniform(4.0, 6.6)
    chance.add("freeze", at, slot=frozen, seconds=seconds)
    chance.last(at + seconds + 3.0)


def _forgotten_worker(chance: Chance) -> None:
    """Redis forgets a worker, which reads on, since it hears of it late; somebody looks for orphans meanwhile."""
    random, at = chance.random, chance.random.choice((4.0, 4.4, 4.8, 9.0, 9.5)) + chance.random.uniform(-0.2, 0.2)
    chance.slots = SLOTS[: random.choice((2, 2, 3))]
    chance.settings |= {slot: {"at_once": 4} for slot in chance.slots}
    slot = chance.slot()
    if random.random() < 0.6:
        chance.add("empty", at, seconds=0.2)
    else:
        chance.add("snapshot", at - 3.0)
        chance.add("kill", at - 2.5, slot=slot, restart=0.2)
        chance.add("restore", at, seconds=0.2)
    for beat in BEATS:
        chance.add("fault", at + 0.01, of=slot, kind="late", script=beat, count=3, seconds=1.8)
    for number in range(6):
        chance.job(at + 0.3 + number * 0.25, seconds=2.5)
    chance.last(at + 5.0)


def _late_reader(chance: Chance) -> None:
    """A worker stands still, and its read comes to Redis when others have ended its lease, and is handed tasks."""
    random, at = chance.random, chance.random.uniform(1.0, 3.0)
    chance.slots = SLOTS[:2]
    chance.settings |= {slot: {"at_once": 1} for slot in chance.slots}
    slot = chance.slot()
    chance.add("fault", at - 0.5, of=slot, kind="late", script="XREADGROUP", count=2, seconds=random.uniform(7.5, 9.0))
    chance.job(at - 0.3, seconds=0.0)
    chance.add("freeze", at, slot=slot, seconds=12.0)
    for number in range(8):
        chance.job(at + 5.0 + number * 0.5, seconds=2.5)
    chance.last(at + 18.0)


def _read_beside_reclaim(chance: Chance) -> None:
    """A worker stands still, and its read comes to Redis while others take over what it had: it is handed more."""
    random, at = chance.random, chance.random.uniform(1.0, 3.0)
    chance.slots = SLOTS[:2]
    chance.settings |= {slot: {"at_once": 1} for slot in chance.slots}
    frozen, other = chance.random.sample(chance.slots, 2)
    late = random.uniform(5.0, 7.0)
    chance.add("fault", at - 0.5, of=frozen, kind="late", script="XREADGROUP", count=2, seconds=late)
    chance.add("fault", at, of=other, kind="late", script="reclaim", count=2, seconds=random.uniform(0.8, 1.8))
    chance.job(at - 0.3, seconds=0.0)
    chance.add("freeze", at, slot=frozen, seconds=12.0)
    for number in range(8):
        chance.job(at + 3.0 + number * 0.5, seconds=2.5)
    chance.last(at + 18.0)


def _newcomer(chance: Chance) -> None:
    """A worker registers, and is handed tasks, while somebody looks for consumers that are no workers."""
    random, at = chance.random, chance.random.choice((5.0, 10.5)) + chance.random.uniform(0.0, 1.0)
    chance.slots = SLOTS[:2]
    chance.settings |= {slot: {"at_once": random.choice((1, 2))} for slot in chance.slots}
    slot = chance.slot()
    chance.add("kill", at - random.choice((0.3, 1.0)), slot=slot, restart=0.2)
    for other in chance.slots:
        chance.add("fault", 3.0, of=other, kind="late", script="tend", count=20, seconds=random.uniform(0.15, 0.4))
    for number in range(8):
        chance.job(at - 0.5 + number * 0.25, seconds=2.5)
    chance.last(at + 5.0)


def _lost_count(chance: Chance) -> None:
    """What a read was handed arrives, and what was asked in the same breath does not."""
    random, at = chance.random, chance.random.uniform(0.3, 2.0)
    for slot in chance.slots:
        chance.add("fault", at, of=slot, kind=random.choice(FAULTS), script="EXISTS", count=4, seconds=1.0)
    for number in range(8):
        chance.job(at + number * 0.4, seconds=random.choice((0.0, 0.3)))
    chance.last(at + 5.0)


def _thawed_reader(chance: Chance) -> None:
    """A worker stands still for longer than its lease while much waits, and reads on before it has beaten."""
    random, at = chance.random, chance.random.uniform(0.5, 2.0)
    chance.slots = SLOTS[:2]
    chance.settings |= {slot: {"at_once": 1} for slot in chance.slots}
    first, slot = chance.uid + 1, chance.slot()
    chance.uid += 20
    seconds = random.choice((0.6, 1.0))
    chance.add("send_many", at - 0.4, by=chance.producer(), uids=list(range(first, chance.uid + 1)), seconds=seconds)
    frozen = random.uniform(6.5, 9.0)
    chance.add("freeze", at, slot=slot, seconds=frozen)
    for beat in BEATS:
        chance.add("fault", at + frozen - 0.01, of=slot, kind="late", script=beat, seconds=0.5)
    chance.last(at + frozen + 3.0)


def _rolling_deploy(chance: Chance) -> None:
    """Many workers of the older version take what only a busy one of the newer version can run."""
    random, at = chance.random, chance.random.uniform(0.5, 2.0)
    chance.slots = SLOTS
    chance.settings |= {slot: {"at_once": 4, "version": "old"} for slot in chance.slots}
    chance.settings["w2"] = {"at_once": random.choice((1, 2)), "version": "new"}
    for number in range(random.randint(6, 10)):
        chance.job(at + number * 0.1, task=random.choice(("news", "wide")), seconds=random.choice((2.0, 4.0)))
    if random.random() < 0.3:
        chance.add("kill", at + random.uniform(1.0, 12.0), slot="w2", restart=random.choice((0.5, 5.0)))
    if random.random() < 0.3:
        chance.add("kill", at + random.uniform(1.0, 12.0), slot="w0", restart=0.5)
    chance.last(at + 25.0)


def _frozen_reader(chance: Chance) -> None:
    """A worker stands still that runs something and waits for more; what it has is given back."""
    random, at = chance.random, chance.random.uniform(0.5, 3.0)
    chance.slots = SLOTS[: random.choice((1, 2))]
    chance.settings |= {slot: {"at_once": 4} for slot in chance.slots}
    for time in (at, at + 20.0, at + 40.0):
        for _ in range(random.randint(1, 3)):
            chance.job(time - 0.2, seconds=random.choice((6.0, 12.0)))
        for slot in chance.slots:
            chance.add("freeze", time, slot=slot, seconds=random.uniform(6.0, 9.0))
    chance.slots = SLOTS[: len(chance.slots) + 1]
    chance.last(at + 52.0)


def _killed_with_its_ward(chance: Chance) -> None:
    """Whoever kills the process for suspects kills its worker right after: nobody is guilty."""
    random, at = chance.random, chance.random.uniform(0.2, 1.0)
    chance.settings |= {slot: {"rule": "none", "at_once": 2, "ward": ""} for slot in chance.slots}
    for _ in range(random.choice((1, 1, 3))):
        chance.job(at, seconds=20.0)
    for time in (at + 1.0, at + 9.0):
        for slot in chance.slots:
            chance.add("kill", time, slot=slot, restart=0.2)
    time = at + 18.0
    while time < at + 30.0:
        for slot in chance.slots:
            chance.add("kill_both", time, slot=slot, gap=random.uniform(0.05, 0.4), restart=0.2)
        time += random.uniform(2.0, 9.0)
    chance.last(time)


def _trouble_in_a_ward(chance: Chance) -> None:
    """Suspects run in a process of their own, to which something happens, or to its worker, or to Redis."""
    random, at = chance.random, chance.random.uniform(0.2, 1.0)
    chance.settings |= {slot: {"rule": "none", "ward": ""} for slot in chance.slots}
    uids = [
        chance.job(at, seconds=random.choice((1.0, 3.0, 8.0)), **random.choice(_SUSPECTS))
        for _ in range(random.choice((1, 2, 4)))
    ]
    for time in (at + 0.8, at + 8.5):
        for slot in chance.slots:
            chance.add("kill", time, slot=slot, restart=0.2)
    chance.add("snapshot", at + random.uniform(14.0, 17.0))
    for _ in range(random.randint(1, 3)):
        time, slot = at + random.uniform(15.0, 24.0), chance.slot()
        trouble, args = random.choice(_TROUBLES)
        match trouble:
            case "cancel":
                chance.add("cancel", time, by=chance.producer(), task_id=f"t{random.choice(uids)}")
            case "fault":
                of, script = f"{slot}w", random.choice(_SCRIPTS_OF_WARDS)
                chance.add("fault", time, of=of, kind=random.choice(FAULTS), script=script, seconds=2.0)
            case "redis_restart" | "empty" | "restore" | "clock" | "full":
                chance.add(trouble, time, **args)
            case _:
                chance.add(trouble, time, slot=slot, **args)
    chance.last(at + 26.0)


def _crowded_ward(chance: Chance) -> None:
    """So many suspects that several run at once, and one of them kills them all."""
    random, at = chance.random, chance.random.uniform(0.2, 1.0)
    chance.slots = SLOTS[: random.choice((1, 2))]
    chance.settings |= {slot: {"rule": "none", "at_once": 20, "ward": ""} for slot in chance.slots}
    killer, count = random.randrange(20), 20
    for number in range(count):
        if number == killer:
            chance.job(at, seconds=0.5, ends=random.choice((["kill"], ["kill", "kill", "kill", "ok"])))
        else:
            chance.job(at, seconds=random.choice((0.8, 1.5)))
    chance.last(at + 20.0)


def _acknowledged_first(chance: Chance) -> None:
    """Tasks are acknowledged before they run, and something happens to their worker, to Redis, or to them."""
    random, at = chance.random, chance.random.uniform(0.2, 3.0)
    chance.settings |= {slot: {"grace": 0.5, "at_once": 4} for slot in chance.slots}
    uids = [
        chance.job(
            at + random.uniform(0.0, 0.5),
            seconds=random.choice((0.0, 1.0, 2.5, 8.0)),
            acks=random.choice(("when_received", "when_received", "when_executed")),
            **random.choice(_EARLY),
        )
        for _ in range(random.randint(1, 4))
    ]
    for _ in range(random.choice((1, 1, 2))):
        time, slot = at + random.uniform(-0.05, 1.2), chance.slot()
        match random.choice(_TROUBLES_OF_EARLY):
            case "kill":
                chance.add("kill", time, slot=slot, restart=0.2)
            case "deploy":
                chance.add("deploy", time, slot=slot, kill_after=random.choice((0.3, 4.0)), restart=0.2)
            case "freeze":
                chance.add("freeze", time, slot=slot, seconds=random.choice((3.0, 8.0)))
            case "cancel":
                chance.add("cancel", time, by=chance.producer(), task_id=f"t{random.choice(uids)}")
            case "fault":
                script = random.choice(("acknowledge", "acknowledge", "settle", "give_back", "reclaim"))
                kind, seconds = random.choice(FAULTS), random.choice((0.5, 6.0))
                chance.add("fault", time, of=slot, kind=kind, script=script, seconds=seconds)
            case "rights":
                chance.add("rights", time, of=slot, rights=["~*", "&*", "+@all", "-hset", "-hdel"], seconds=3.0)
            case "full":
                chance.add("full", time, seconds=random.choice((0.5, 8.0)))
            case "restore":
                chance.add("snapshot", time)
                chance.add("restore", time + random.uniform(0.1, 2.0), seconds=0.2)
            case _:
                chance.add("empty", time, seconds=0.2)
    chance.last(at + 10.0)


def _cancelled_as_it_runs(chance: Chance) -> None:
    """Running tasks are cancelled, and nothing disturbs their workers."""
    random = chance.random
    chance.slots = SLOTS[: random.choice((1, 2))]
    chance.settings |= {slot: {"at_once": 4} for slot in chance.slots}
    for _ in range(random.randint(2, 4)):
        at = random.uniform(0.2, 4.0)
        args: Arguments = random.choice(
            ({}, {"unique": "k"}, {"stubborn": True}, {"acks": "when_received"}, {"wait": 30.0})
        )
        uid = chance.job(at, seconds=random.choice((4.0, 8.0)), **args)
        chance.add("cancel", at + random.uniform(0.3, 2.5), by=chance.producer(), task_id=f"t{uid}")
    chance.last(8.0)


def _cancelled_once(chance: Chance) -> None:
    """Of a cancellation the first try has no answer in time, or comes late, while the task cleans up already."""
    random, at = chance.random, chance.random.uniform(0.2, 2.0)
    chance.slots = SLOTS[: random.choice((1, 2))]
    chance.settings |= {slot: {"at_once": 4} for slot in chance.slots}
    uid = chance.job(at, seconds=20.0, clean_up=random.choice((0.0, 4.0, 12.0)), **random.choice(({}, {"unique": "k"})))
    at, by = at + random.uniform(0.5, 2.5), chance.producer()
    script, kind = random.choice(("cancel", "cancel", "cancel_entry")), random.choice(("answer-late", *FAULTS))
    chance.add("fault", at - 0.01, of=by, kind=kind, script=script, seconds=random.uniform(5.0, 7.0))
    chance.add("cancel", at, by=by, task_id=f"t{uid}")
    chance.last(at + 15.0)


def _older_data(chance: Chance) -> None:
    """Redis comes back with older data: since they were saved, workers have begun, ended or died, and tasks as well."""
    random, at = chance.random, chance.random.uniform(1.0, 3.0)
    chance.slots = SLOTS[: random.choice((2, 3))]
    chance.settings |= {slot: {"rule": "none", "at_once": 4, "ward": ""} for slot in chance.slots}
    for _ in range(random.choice((1, 3))):
        chance.job(at - 0.5, seconds=random.choice((1.0, 6.0)))
    chance.add("snapshot", at)
    for slot in chance.slots:
        match random.choice(("kill", "deploy", "")):
            case "kill":
                chance.add("kill", at + random.uniform(0.1, 1.0), slot=slot, restart=random.choice((0.2, 30.0)))
            case "deploy":
                chance.add("deploy", at + random.uniform(0.1, 1.0), slot=slot, kill_after=8.0, restart=0.2)
            case _:
                pass
    restored = at + random.uniform(1.5, 4.0)
    for _ in range(random.choice((2, 4))):
        args: Arguments = random.choice(
            ({}, {"unique": "k"}, {"retries": 1, "ends": ["error", "ok"]}, {"acks": "when_received"})
        )
        chance.job(random.uniform(at + 1.0, restored + 0.3), seconds=random.choice((1.0, 3.0)), wait=30.0, **args)
    away = random.choice((0.2, 3.0))
    chance.add("restore", restored, seconds=away)
    for slot in chance.slots:
        # It ends before its worker has seen that Redis does not know it.
        chance.add("fault", restored, of=slot, kind="late", script=random.choice(BEATS), count=2, seconds=1.0)
        chance.job(
            restored + away + random.uniform(-0.2, 0.8) - 1.3,
            seconds=1.0,
            **random.choice(({}, {"retries": 1, "ends": ["error", "ok"]})),
        )
    chance.last(restored + 9.0)


def _older_data_twice(chance: Chance) -> None:
    """Redis comes back with older data, and soon once more, with data of in between that have other workers."""
    random, at = chance.random, chance.random.uniform(1.0, 3.0)
    chance.slots = SLOTS[: random.choice((2, 3))]
    chance.settings |= {slot: {"rule": "none", "at_once": 4, "ward": ""} for slot in chance.slots}
    for _ in range(random.choice((1, 3))):
        chance.job(at - 0.5, seconds=random.choice((3.0, 8.0)))
    chance.add("snapshot", at)
    away = random.choice((0.2, 3.0))
    at += random.uniform(1.2, 2.5)
    chance.add("restore", at, seconds=away)
    at += away + random.uniform(0.2, 3.0)
    chance.add("snapshot", at)
    at += random.uniform(0.2, 1.5)
    for slot in chance.slots:
        match random.choice(("deploy", "deploy", "kill", "")):
            case "kill":
                chance.add("kill", at, slot=slot, restart=random.choice((0.2, 30.0)))
            case "deploy":
                chance.add("deploy", at, slot=slot, kill_after=8.0, restart=0.2)
            case _:
                pass
    at += random.uniform(1.2, 3.0)
    chance.add("restore", at, seconds=random.choice((0.2, 3.0)))
    chance.last(at + 11.0)


def _older_data_unanswered(chance: Chance) -> None:
    """Redis comes back with older data, and the beats by which workers would see it have no answer, or came late."""
    random, at = chance.random, chance.random.uniform(2.0, 4.0)
    chance.slots = SLOTS[: random.choice((2, 3))]
    chance.settings |= {slot: {"rule": "none", "at_once": 4, "ward": ""} for slot in chance.slots}
    for _ in range(random.choice((1, 3))):
        chance.job(at - 0.5, seconds=8.0)
    for slot in chance.slots:
        if random.random() < 0.3:
            for script in BEATS:
                chance.add("fault", at - 1.5, of=slot, kind="late", script=script, seconds=random.choice((0.3, 1.2)))
    chance.add("snapshot", at)
    # These are gone by the time at which Redis has them again, and others begin with it; the last one goes on.
    restored, away = at + random.uniform(1.5, 3.0), random.choice((0.2, 3.0))
    for slot in chance.slots[:-1]:
        chance.add("deploy", at + random.uniform(0.1, 0.8), slot=slot, kill_after=0.3, restart=0.2)
        chance.add("kill", restored - 0.05, slot=slot, restart=random.choice((0.2, away)))
    chance.add("restore", restored, seconds=away)
    for slot in chance.slots:
        if random.random() < 0.7:
            kind = random.choice(("answer-lost", "answer-lost", "late", "answer-late"))
            count = random.choice((1, 2, 3, 4))
            for script in BEATS:
                chance.add("fault", restored, of=slot, kind=kind, script=script, count=count, seconds=1.0)
    chance.last(restored + 11.0)


def _older_data_in_a_ward(chance: Chance) -> None:
    """Processes for suspects run others than older data say, with which Redis comes back, and some die of them."""
    random, at = chance.random, chance.random.uniform(0.2, 0.6)
    chance.slots = SLOTS[:1]
    chance.settings["w0"] = {"rule": "none", "at_once": 20, "ward": ""}
    killers = random.choice((2, 4))
    for number in range(9):
        args: Arguments = {"ends": ["ok", "ok", "kill"]} if number % 9 < killers else {}
        chance.job(at, seconds=2.0, **args)
    for time in (at + 1.0, at + 8.2):
        chance.add("kill", time, slot="w0", restart=0.2)
    saved = at + random.uniform(16.5, 19.0)
    chance.add("snapshot", saved)
    for _ in range(3):
        chance.add("restore", saved + random.uniform(2.2, 4.0), seconds=0.05)
    chance.last(saved + 9.0)


def _sent_again_twice(chance: Chance) -> None:
    """Two operators send a failed run again in one moment, and the answer of one is lost."""
    random, at = chance.random, chance.random.uniform(0.2, 2.0)
    args: Arguments = random.choice(({}, {"unique": "k"}))
    chance.job(at, seconds=0.0, ends=["error"], **args)
    at += random.uniform(0.5, 1.5)
    for by in ("p0", "p1"):
        chance.add("resend_runs", at, by=by)
    kind = random.choice(("answer-lost", "repeated", "late"))
    chance.add("fault", at, of="p0", kind=kind, script="resend_run", seconds=random.choice((0.05, 1.0)))
    chance.last(at + 3.0)


RACES: Final[dict[str, Callable[[Chance], None]]] = {
    "half_a_move": _half_a_move,
    "twins_apart": _twins_apart,
    "beat_before_the_fence": _beat_before_the_fence,
    "forgotten_worker": _forgotten_worker,
    "late_reader": _late_reader,
    "read_beside_reclaim": _read_beside_reclaim,
    "newcomer": _newcomer,
    "lost_count": _lost_count,
    "thawed_reader": _thawed_reader,
    "rolling_deploy": _rolling_deploy,
    "frozen_reader": _frozen_reader,
    "killed_with_its_ward": _killed_with_its_ward,
    "trouble_in_a_ward": _trouble_in_a_ward,
    "crowded_ward": _crowded_ward,
    "acknowledged_first": _acknowledged_first,
    "cancelled_as_it_runs": _cancelled_as_it_runs,
    "cancelled_once": _cancelled_once,
    "older_data": _older_data,
    "older_data_twice": _older_data_twice,
    "older_data_unanswered": _older_data_unanswered,
    "older_data_in_a_ward": _older_data_in_a_ward,
    "sent_again_twice": _sent_again_twice,
}
