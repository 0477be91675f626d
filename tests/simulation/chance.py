"""Makes plans by chance: the parts of which histories are made."""

# ruff: noqa: ANN401, S311  # a plan's arguments are JSON; its chance is no secret

from random import Random
from typing import Any, Final

from tests.simulation.plan import Arguments, FireTime, Plan

SLOTS: Final = ("w0", "w1", "w2")
FAULTS: Final = ("request-lost", "answer-lost", "answer-late", "late", "repeated")
# With which a worker renews its lease.
BEATS: Final = ("ZADD", "beat", "tend", "watch")
_PRODUCERS: Final = 2
_RIGHTS_OF_SCHEDULERS: Final = (
    ["%R~*", "&*", "+@all"],
    ["~*", "&*", "+@all", "-zadd"],
    ["~*", "&*", "+@all", "-xadd"],
    ["~*", "&*", "+@all", "-hset"],
)


class Chance:
    """Makes one plan, step by step.

    Attributes:
        slots: of the workers.
        is_gentle: whether nothing happens for which a living worker could lose its lease.
        settings: of the worker in each slot, where they are not left to chance.
        seconds: from when on all is well.
        uid: of the last message.
        tasks: all that are sent.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = Random(f"plan:{seed}")
        self._seed = seed
        self.uid = 0
        self.tasks: list[str] = []
        self.seconds = random.uniform(5.0, 12.0)
        self.steps: list[FireTime] = []
        self.slots = SLOTS[: random.choice((1, 2, 2, 3))]
        self.is_gentle = False
        self.settings: dict[str, Arguments] = {}

    def plan(self) -> Plan:
        """A plan."""
        workers = {slot: self._settings() | self.settings.get(slot, {}) for slot in self.slots}
        self.steps.sort(key=lambda step: step.at)
        return Plan(seed=self._seed, workers=workers, producers=_PRODUCERS, seconds=self.seconds, steps=self.steps)

    def _settings(self) -> Arguments:
        random = self.random
        ward = random.choice(("refused", "unknown")) if random.random() < 0.05 else ""
        return {
            "rule": random.choice(("one", "none", "none")),
            "at_once": random.choice((1, 2, 4)),
            "grace": random.choice((0.5, 2.0)),
            "ward": ward,
            "version": random.choice(("old", "new")),
        }

    def at(self) -> float:
        """A time, before all is well."""
        return round(self.random.uniform(0.0, self.seconds - 1.0), 3)

    def add(self, do: str, at: float | None = None, **args: Any) -> None:
        """Let something happen, at that time or some time."""
        self.steps.append(FireTime(at=self.at() if at is None else at, do=do, args=args))

    def producer(self) -> str:
        """One of them."""
        return f"p{self.random.randrange(_PRODUCERS)}"

    def slot(self) -> str:
        """That of some worker."""
        return self.random.choice(self.slots)

    def anyone(self) -> str:
        """Some worker or producer."""
        return self.random.choice((*self.slots, "p0", "p1"))

    def last(self, at: float) -> None:
        """See that not all is well before that time."""
        self.seconds = max(self.seconds, at)

    def job(self, at: float, **args: Any) -> int:
        """Somebody sends a message; its uid."""
        self.uid += 1
        self.tasks.append(args.get("task_id", f"t{self.uid}"))
        self.add("send", max(at, 0.0), by=self.producer(), uid=self.uid, **args)
        return self.uid

    def send(self) -> None:
        """Some message, or several, are sent."""
        random, args = self.random, self._job_arguments()
        self.uid += 1
        uid = self.uid
        if random.random() < 0.2 and self.tasks:
            args["task_id"] = random.choice(self.tasks)
        task_id = args.get("task_id", f"t{uid}")
        self.tasks.append(task_id)
        at = self.at()
        if random.random() < 0.1:
            more = [uid, *range(uid + 1, uid + random.randint(2, 5))]
            self.uid = more[-1]
            self.tasks += [f"t{one}" for one in more]
            shared = {name: args[name] for name in ("seconds", "unique", "delay", "acks") if name in args}
            self.add("send_many", at, by=self.producer(), uids=more, **shared)
            return
        self.add("send", at, by=self.producer(), uid=uid, **args)

    def _job_arguments(self) -> Arguments:
        random = self.random
        args: Arguments = {"seconds": random.choice((0.0, 0.05, 0.3, 1.0, 2.5))}
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
        if random.random() < 0.15:
            args["acks"] = random.choice(("when_received", "when_received", "when_executed"))
        return args

    def schedule(self) -> None:
        """Schedulers, and what may happen to them."""
        random = self.random
        slots = ("s0", "s1")[: random.randint(1, 2)]
        for slot in slots:
            missed = random.choice(("latest", "latest", "all"))
            self.add("scheduler", random.choice((0.0, 0.0, self.at())), slot=slot, missed=missed)
        for _ in range(random.randint(0, 4)):
            slot = random.choice(slots)
            match random.choice(("kill", "freeze", "fault", "fault", "rights", *["operate"] * 4)):
                case "kill":
                    at = self.at()
                    self.add("kill_scheduler", at, slot=slot)
                    self.add("scheduler", at + 1.0, slot=slot)
                case "freeze":
                    self.add("freeze_scheduler", slot=slot, seconds=random.choice((1.0, 4.0)))
                case "fault":
                    kind = random.choice(FAULTS)
                    self.add("fault", of=slot, kind=kind, script=random.choice(("fire", "poll", "")), seconds=2.0)
                case "rights":
                    of, rights = random.choice((*slots, "op")), random.choice(_RIGHTS_OF_SCHEDULERS)
                    self.add("rights", of=of, rights=rights, seconds=random.choice((0.5, 3.0)))
                case _:
                    self._operate()

    def _operate(self) -> None:
        """Somebody changes a schedule, and may have to see how far he got."""
        random, at = self.random, self.at()
        what = random.choice(("add", "add", "remove", "pause", "pause", "resume", "run"))
        name = random.choice(("quick", "slow", "added"))
        if random.random() < 0.2:
            self.add("fault", at, of="op", kind=random.choice(FAULTS), seconds=2.0)
        self.add("operate", at, what=what, name=name)
        if random.random() < 0.1:
            self.add("freeze_operator", at + 0.005, seconds=random.choice((1.0, 4.0)))
        if random.random() < 0.1:
            self.add("kill_operator", at + random.choice((0.005, 0.05)))
