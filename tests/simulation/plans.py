"""Histories by chance: which things happen, when and to whom."""

# ruff: noqa: ANN401, S311  # a plan's arguments are JSON; its chance is no secret

from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.simulation.history import Arguments, Plan, Step
from tests.simulation.world import NO_CHANNELS

_SLOTS: Final = ("w0", "w1", "w2")
_PRODUCERS: Final = 2
_SCRIPTS_OF_WORKERS: Final = (
    "settle",
    "fetch",
    "give_back",
    "XREADGROUP",
    "ZADD",
    "ZCARD",
    "reclaim",
    "move",
    "tend",
    "register",
)
_SCRIPTS_OF_PRODUCERS: Final = ("send", "send", "cancel", "cancel_entry", "MGET", "resend")
_FAULTS: Final = ("request-lost", "answer-lost", "late")
# Rights that a user may lack: commands in the middle of scripts, channels, and single keys.
_RIGHTS: Final = (
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


class Chance:
    """Makes one plan."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(f"plan:{seed}")
        self._seed = seed
        self._uid = 0
        self._tasks: list[str] = []
        self._seconds = random.uniform(5.0, 12.0)
        self._steps: list[Step] = []
        self._kinds = [kind for kind in _KINDS if random.random() < 0.35]
        if random.random() < 0.15:
            self._kinds = [kind for kind in _GENTLE if random.random() < 0.5]
        self._slots = _SLOTS[: random.choice((1, 2, 2, 3))]

    def plan(self) -> Plan:
        """A plan."""
        random = self._random
        workers = {
            slot: {
                "rule": random.choice(("one", "none")),
                "at_once": random.choice((1, 2, 4)),
                "grace": random.choice((0.5, 2.0)),
            }
            for slot in self._slots
        }
        for _ in range(random.randint(4, 14)):
            self._send()
        for _ in range(random.randint(0, 10)):
            if self._kinds:
                _KINDS[random.choice(self._kinds)](self)
        if random.random() < 0.3:
            self._schedule()
        self._steps.sort(key=lambda step: step.at)
        return Plan(seed=self._seed, workers=workers, producers=_PRODUCERS, seconds=self._seconds, steps=self._steps)

    def _at(self) -> float:
        return round(self._random.uniform(0.0, self._seconds - 1.0), 3)

    def _add(self, do: str, at: float | None = None, **args: Any) -> None:
        self._steps.append(Step(at=self._at() if at is None else at, do=do, args=args))

    def _producer(self) -> str:
        return f"p{self._random.randrange(_PRODUCERS)}"

    def _slot(self) -> str:
        return self._random.choice(self._slots)

    def _anyone(self) -> str:
        return self._random.choice((*self._slots, "p0", "p1"))

    def _send(self) -> None:
        random = self._random
        args: Arguments = {"seconds": random.choice((0.0, 0.05, 0.3, 1.0, 2.5))}
        self._uid += 1
        uid = self._uid
        if random.random() < 0.3:
            args["delay"] = random.choice((0.2, 1.0, 3.0))
        if random.random() < 0.4:
            args["unique"] = random.choice(("k", "l"))
        if random.random() < 0.2:
            args["queue"] = "other"
        if random.random() < 0.3:
            args["wait"] = random.choice((5.0, 30.0))
        if random.random() < 0.3:
            args["retries"] = random.choice((1, 2))
            args["ends"] = random.choice((["error", "ok"], ["error"], ["error", "error", "ok"]))
        elif random.random() < 0.1:
            args["ends"] = ["error"]
        if random.random() < 0.1:
            args["stubborn"] = True
        if random.random() < 0.2 and self._tasks:
            args["task_id"] = random.choice(self._tasks)
        task_id = args.get("task_id", f"t{uid}")
        self._tasks.append(task_id)
        at = self._at()
        if random.random() < 0.1:
            more = [uid, *range(uid + 1, uid + random.randint(2, 5))]
            self._uid = more[-1]
            self._tasks += [f"t{one}" for one in more]
            self._add("send_many", at, by=self._producer(), uids=more, seconds=args["seconds"])
            return
        self._add("send", at, by=self._producer(), uid=uid, **args)

    def _schedule(self) -> None:
        """Schedulers, and what may happen to them."""
        random = self._random
        slots = ("s0", "s1")[: random.randint(1, 2)]
        for slot in slots:
            missed = random.choice(("latest", "latest", "all"))
            self._add("scheduler", random.choice((0.0, 0.0, self._at())), slot=slot, missed=missed)
        for _ in range(random.randint(0, 4)):
            slot = random.choice(slots)
            match random.choice(("kill", "freeze", "fault", "fault", "operate", "operate")):
                case "kill":
                    at = self._at()
                    self._add("kill_scheduler", at, slot=slot)
                    self._add("scheduler", at + 1.0, slot=slot)
                case "freeze":
                    self._add("freeze_scheduler", slot=slot, seconds=random.choice((1.0, 4.0)))
                case "fault":
                    kind = random.choice(_FAULTS)
                    self._add("fault", of=slot, kind=kind, script=random.choice(("fire", "look", "")), seconds=2.0)
                case _:
                    what = random.choice(("add", "add", "remove", "pause", "resume", "run"))
                    self._add("operate", what=what, name=random.choice(("quick", "slow", "added")))

    # --- what may happen

    def poison(self) -> None:
        """A task that kills its worker."""
        self._uid += 1
        ends = self._random.choice((["kill"], ["kill", "ok"], ["kill", "kill", "ok"]))
        self._add("send", by=self._producer(), uid=self._uid, seconds=0.2, ends=ends)

    def impatient(self) -> None:
        """A caller that gives up."""
        self._uid += 1
        give_up = self._random.choice((0.001, 0.02, 0.2))
        args: Arguments = {"unique": "k"} if self._random.random() < 0.4 else {}
        self._add("send", by=self._producer(), uid=self._uid, seconds=0.1, give_up=give_up, **args)

    def cancel(self) -> None:
        """A task is cancelled, near the time at which something happens to it."""
        random = self._random
        if random.random() < 0.3:
            self._cancel_what_fails()
            return
        task_id = random.choice(self._tasks)
        sends = [one.at for one in self._steps if one.args.get("task_id", f"t{one.args.get('uid')}") == task_id]
        near = random.choice(sends) + random.uniform(-0.5, 3.0) if sends else self._at()
        at = max(round(near, 3), 0.0)
        self._add("cancel", at, by=self._producer(), task_id=task_id)
        self._disturb(at)

    def _cancel_what_fails(self) -> None:
        """A task fails and is to be tried again, just when it is cancelled."""
        at, by = self._at(), self._producer()
        self._uid += 1
        self._add("send", at, by=by, uid=self._uid, seconds=1.0, retries=2, ends=["error", "ok"])
        self._add("cancel", at + self._random.uniform(0.3, 1.2), by=by, task_id=f"t{self._uid}")

    def _disturb(self, cancelled: float) -> None:
        """What is cancelled changes its place meanwhile."""
        random = self._random
        match random.choice(("", "", "kill", "deploy", "freeze")):
            case "kill":
                self._add(
                    "kill", cancelled + random.uniform(0.0, 0.8), slot=self._slot(), restart=random.choice((0.2, 2.0))
                )
            case "deploy":
                at = max(cancelled + random.uniform(-2.2, 0.6), 0.0)
                self._add("deploy", at, slot=self._slot(), kill_after=random.choice((1.0, 4.0)), restart=0.2)
            case "freeze" if "freeze" in self._kinds:
                self._add("freeze", cancelled, slot=self._slot(), seconds=random.choice((3.0, 8.0)))
            case _:
                pass

    def twins(self) -> None:
        """Two messages have one id, and are cancelled together."""
        random = self._random
        at, delay = self._at(), random.choice((0.0, 0.0, 3.0))
        self._uid += 2
        task_id = f"t{self._uid}"
        self._tasks.append(task_id)
        for uid in (self._uid - 1, self._uid):
            args: Arguments = {"delay": delay} if delay else {}
            self._add(
                "send", at, by=self._producer(), uid=uid, task_id=task_id, seconds=random.choice((0.3, 2.5)), **args
            )
        at += random.choice((0.2, 0.6, 1.5))
        self._add("cancel", at, by=self._producer(), task_id=task_id)
        self._disturb(at)

    def letters(self) -> None:
        """Dead letters are sent again, or dropped."""
        at = self._at()
        self._uid += 1
        self._add("send", max(at - 1.0, 0.0), by=self._producer(), uid=self._uid, seconds=0.05, ends=["error", "ok"])
        self._add(self._random.choice(("retry_letters", "retry_letters", "purge")), at, by=self._producer())

    def kill(self) -> None:
        """A worker dies."""
        self._add("kill", slot=self._slot(), restart=self._random.choice((0.2, 2.0)))

    def massacre(self) -> None:
        """All workers are killed again and again, whatever they do: no task is to blame."""
        at, by = self._random.uniform(0.0, 2.0), self._producer()
        self._uid += 1
        self._add("send", at, by=by, uid=self._uid, seconds=8.0)
        is_asked = self._random.random() < 0.5
        for time in (at + 1.5, at + 9.0, at + 16.5):
            for slot in self._slots:
                if is_asked:
                    self._add("deploy", time, slot=slot, kill_after=0.3, restart=0.2)
                else:
                    self._add("kill", time, slot=slot, restart=0.2)
        self._seconds = max(self._seconds, at + 17.0)

    def deploy(self) -> None:
        """A worker is asked to end, and killed where it does not."""
        after = self._random.choice((0.05, 1.0, 4.0))
        self._add("deploy", slot=self._slot(), kill_after=after, restart=self._random.choice((0.2, 1.0)))

    def freeze(self) -> None:
        """A process stands still."""
        random = self._random
        seconds = random.choice((0.5, 3.0, random.uniform(4.4, 6.0), 8.0))
        if random.random() < 0.8:
            at = self._at()
            # Long enough to see what comes of it, and with something to do.
            self._seconds = max(self._seconds, at + seconds + 1.0)
            self._uid += 1
            self._add("send", max(at - 0.3, 0.0), by=self._producer(), uid=self._uid, seconds=2.5)
            self._add("freeze", at, slot=self._slot(), seconds=seconds)
        else:
            self._add("freeze_producer", by=self._producer(), seconds=seconds)

    def fault(self) -> None:
        """A command is lost or late."""
        random = self._random
        of = self._anyone()
        scripts = _SCRIPTS_OF_PRODUCERS if of.startswith("p") else _SCRIPTS_OF_WORKERS
        self._add(
            "fault",
            of=of,
            kind=random.choice(_FAULTS),
            script=random.choice(scripts),
            count=random.choice((1, 1, 2)),
            seconds=random.choice((0.3, 2.0, 6.0)),
        )

    def lost_answer(self) -> None:
        """The answer to a certain send is lost, or comes late."""
        random = self._random
        if random.random() < 0.3:
            self._add("fault", of=self._slot(), kind="answer-lost", script="ZCARD")
            return
        sends = [one for one in self._steps if one.do in ("send", "send_many")]
        sent = random.choice([one for one in sends if one.args.get("unique")] or sends)
        kind = random.choice(("answer-lost", "answer-lost", "late"))
        at = max(round(sent.at - 0.001, 3), 0.0)
        self._add("fault", at, of=sent.args["by"], kind=kind, script="send", count=1, seconds=6.0)

    def crowd(self) -> None:
        """Two sends of one moment, one in vain since its key is held; their batch is lost, or its answer."""
        random = self._random
        at, by = self._at(), self._producer()
        first = self._uid + 1
        self._uid += 3
        self._tasks += [f"t{uid}" for uid in range(first, first + 3)]
        self._add("send", at, by=self._producer(), uid=first, unique="k", seconds=2.5)
        impatient: Arguments = {"uid": first + 1, "unique": "l", "give_up": random.choice((0.05, 0.3, 2.0))}
        held: Arguments = {"uid": first + 2, "unique": "k", "wait": 5.0}
        kind = random.choice(("answer-lost", "request-lost", "request-lost"))
        at += 0.4
        self._add("fault", at - 0.01, of=by, kind=kind, script="send", count=random.choice((1, 3)))
        self._add("send_together", at, by=by, sends=[impatient, held])

    def refused(self) -> None:
        """No worker may do all that it needs when a task ends, is given back or taken over."""
        random = self._random
        at, rights = self._at(), list(random.choice(_RIGHTS[:4]))
        seconds = random.choice((0.3, 2.5))
        for slot in self._slots:
            self._add("rights", at + 0.2, of=slot, rights=rights, seconds=random.choice((3.0, 8.0, 8.0)))
        self._uid += 3
        for uid in range(self._uid - 2, self._uid + 1):
            args: Arguments = random.choice(({}, {"retries": 2, "ends": ["error", "ok"]}, {"unique": "k"}))
            self._add("send", at, by=self._producer(), uid=uid, seconds=seconds, **args)
        match random.choice(("kill", "deploy", "deploy", "")):
            case "kill":
                self._add("kill", at + 0.4, slot=self._slot(), restart=2.0)
            case "deploy":
                self._add("deploy", at + 0.4, slot=self._slot(), kill_after=4.0, restart=1.0)
            case _:
                pass

    def cut(self) -> None:
        """Connections are cut."""
        self._add("cut", of=self._random.choice((None, self._anyone())))

    def redis(self) -> None:
        """Redis stands still, or is started anew."""
        random = self._random
        if random.random() < 0.5:
            self._add("stall", seconds=random.choice((0.5, 3.0, 6.0)))
        else:
            self._add("redis_restart", seconds=random.choice((0.2, 2.0, 9.0)))

    def loss(self) -> None:
        """Redis loses data."""
        random = self._random
        if random.random() < 0.6:
            at = self._at()
            self._add("snapshot", at)
            self._add(
                "restore", min(at + random.uniform(0.2, 4.0), self._seconds - 0.5), seconds=random.choice((0.2, 3.0))
            )
        else:
            self._add("empty", seconds=random.choice((0.2, 3.0)))

    def clock(self) -> None:
        """Redis' clock is set."""
        seconds = self._random.choice((-86_400.0, -600.0, -10.0, 10.0, 600.0, 86_400.0))
        self._add("clock", seconds=seconds)

    def flush(self) -> None:
        """Redis forgets the scripts."""
        self._add("script_flush")

    def full(self) -> None:
        """Redis is full."""
        at, seconds = self._at(), self._random.choice((0.3, 2.0, 5.0, 12.0, 40.0))
        # Longer than a lease: nobody may lose it by this.
        self._seconds = max(self._seconds, at + seconds)
        self._add("full", at, seconds=seconds)

    def unreadable(self) -> None:
        """Something is among the delayed messages that no worker can read."""
        self._add("unreadable", value=self._random.choice(_UNREADABLE))

    def rights(self) -> None:
        """A process' user may not do all that it needs."""
        rights = list(self._random.choice(_RIGHTS))
        self._add("rights", of=self._anyone(), rights=rights, seconds=self._random.choice((0.5, 3.0)))

    def old_version(self) -> None:
        """A worker of the version before runs beside the others for some seconds."""
        self._add("old_worker", slot="old", seconds=self._random.choice((1.0, 4.0, 20.0)))


_KINDS: Final[dict[str, Callable[[Chance], None]]] = {
    "poison": Chance.poison,
    "impatient": Chance.impatient,
    "cancel": Chance.cancel,
    "twins": Chance.twins,
    "letters": Chance.letters,
    "kill": Chance.kill,
    "massacre": Chance.massacre,
    "deploy": Chance.deploy,
    "freeze": Chance.freeze,
    "fault": Chance.fault,
    "lost_answer": Chance.lost_answer,
    "crowd": Chance.crowd,
    "refused": Chance.refused,
    "cut": Chance.cut,
    "redis": Chance.redis,
    "loss": Chance.loss,
    "clock": Chance.clock,
    "flush": Chance.flush,
    "full": Chance.full,
    "unreadable": Chance.unreadable,
    "rights": Chance.rights,
    "old_version": Chance.old_version,
}

# For these no living worker loses its lease.
_GENTLE: Final = (
    *("poison", "impatient", "cancel", "twins", "letters", "kill", "massacre", "deploy", "flush", "full", "unreadable"),
)


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    return Chance(seed).plan()
