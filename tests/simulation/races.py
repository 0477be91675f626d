"""Races: several things that happen at just the wrong moments, each of which a step of the protocol has to bear."""

from collections.abc import Callable
from typing import Final

from tests.simulation.chance import FAULTS, SLOTS, Chance
from tests.simulation.plan import Arguments

# What the tasks are like whose workers have died; and what may happen when they run in a process of their own.
_SUSPECTS: Final[tuple[Arguments, ...]] = (
    {},
    {"unique": "k"},
    {"ends": ["kill"]},
    {"ends": ["kill", "kill", "kill", "ok"]},
    {"ends": ["ok", "ok", "error", "ok"], "retries": 2},
    {"stubborn": True},
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
_SCRIPTS_OF_WARDS: Final = ("fetch", "settle", "register", "ZADD", "give_back", "leave")
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
    chance.add("fault", at + 0.01, of=slot, kind="late", script="ZADD", count=3, seconds=1.8)
    for number in range(6):
        chance.job(at + 0.3 + number * 0.25, seconds=2.5)
    chance.last(at + 5.0)


def _newcomer(chance: Chance) -> None:
    """A worker registers, and is handed tasks, while somebody looks for consumers that are no workers."""
    random, at = chance.random, chance.random.choice((5.0, 10.5)) + chance.random.uniform(0.0, 1.0)
    chance.slots = SLOTS[:2]
    chance.settings |= {slot: {"at_once": random.choice((1, 2))} for slot in chance.slots}
    slot = chance.slot()
    chance.add("kill", at - random.choice((0.3, 1.0)), slot=slot, restart=0.2)
    for other in chance.slots:
        chance.add("fault", 3.0, of=other, kind="late", script="XINFO", count=20, seconds=random.uniform(0.15, 0.4))
    for number in range(8):
        chance.job(at - 0.5 + number * 0.25, seconds=2.5)
    chance.last(at + 5.0)


def _lost_count(chance: Chance) -> None:
    """What a read was handed arrives, and what was asked in the same breath does not."""
    random, at = chance.random, chance.random.uniform(0.3, 2.0)
    for slot in chance.slots:
        chance.add("fault", at, of=slot, kind=random.choice(FAULTS), script="ZCARD", count=4, seconds=1.0)
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
    chance.add("fault", at + frozen - 0.01, of=slot, kind="late", script="ZADD", seconds=0.5)
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
    for _ in range(random.randint(1, 3)):
        chance.job(at - 0.2, seconds=random.choice((6.0, 12.0)))
    for slot in chance.slots:
        chance.add("freeze", at, slot=slot, seconds=random.uniform(6.0, 9.0))
    chance.slots = SLOTS[: len(chance.slots) + 1]
    chance.last(at + 12.0)


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


RACES: Final[dict[str, Callable[[Chance], None]]] = {
    "half_a_move": _half_a_move,
    "twins_apart": _twins_apart,
    "beat_before_the_fence": _beat_before_the_fence,
    "forgotten_worker": _forgotten_worker,
    "newcomer": _newcomer,
    "lost_count": _lost_count,
    "thawed_reader": _thawed_reader,
    "rolling_deploy": _rolling_deploy,
    "frozen_reader": _frozen_reader,
    "killed_with_its_ward": _killed_with_its_ward,
    "trouble_in_a_ward": _trouble_in_a_ward,
    "crowded_ward": _crowded_ward,
}
