"""Many histories, one after the other."""

import gc
import os
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.util import Finalize

from tests.simulation.history import play
from tests.simulation.plan import Plan
from tests.simulation.plans import plan_of
from tests.simulation.server import Server, forget_the_killed
from tests.simulation.shrinking import same_promise, shrink


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A promise that did not hold, and the shortest history that was found."""

    seed: int
    broken: str
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Played:
    """Some histories."""

    histories: int
    commands: int
    runs: int
    virtual: float
    broken: list[Broken]


def take_core(taken: "Synchronized[int]") -> None:
    """Let this process and the redis-server that it starts share one core, where the system knows of cores.

    They take turns, and never run at once: to wake each other across cores would take three times as long as a command.
    """
    with taken.get_lock():
        number = taken.value
        taken.value += 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def play_some(start: int, number: int) -> Played:
    """Play histories, and shrink those that break a promise."""
    commands = runs = 0
    virtual = 0.0
    broken: list[Broken] = []
    server = _server()
    # Found at its time, what killed processes had begun could not even be ignored: Python imports `warnings` for it.
    gc.disable()
    forget_the_killed()
    # What is there by now stays: it is not looked through each time.
    gc.freeze()
    for seed in range(start, start + number):
        plan = plan_of(seed)
        verdict = play(plan, server)
        commands, runs, virtual = commands + verdict.commands, runs + verdict.runs, virtual + verdict.seconds
        if verdict.broken:
            breaks = partial(same_promise, verdict.broken, server)
            broken.append(Broken(seed=seed, broken=verdict.broken, plan=shrink(plan, breaks)))
    return Played(histories=number, commands=commands, runs=runs, virtual=virtual, broken=broken)


@cache
def _server() -> Server:
    """That of this process, which ends with it."""
    server = Server()
    Finalize(server, server.__exit__, args=(None, None, None), exitpriority=1)
    return server


def add(one: Played, other: Played) -> Played:
    """Both together."""
    return Played(
        histories=one.histories + other.histories,
        commands=one.commands + other.commands,
        runs=one.runs + other.runs,
        virtual=one.virtual + other.virtual,
        broken=one.broken + other.broken,
    )
