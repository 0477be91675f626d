"""Plans, and how they come to pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.invariants.leftovers import unexpected
from tests.simulation.doings import DOINGS, GENTLE
from tests.simulation.patches import simulated
from tests.simulation.plan import Plan
from tests.simulation.scheduler import ADDED, TABLE
from tests.simulation.server import Server
from tests.simulation.stand_ins import START_MS
from tests.simulation.world import World

# Virtual seconds within which all that was sent must have ended, once everything is well; and what tidying takes.
_LONGEST_END: Final = 400.0
_SECONDS_TO_TIDY: Final = 3.0
_SECONDS_TO_SCHEDULE: Final = 12.0


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
    world = World(server, plan.seed, START_MS)
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
        world.start_producer(f"p{number}")
    world.settings = plan.workers
    world.is_gentle = all(step.do in GENTLE for step in plan.steps)
    for slot in plan.workers:
        world.start_worker(slot)
    for step in plan.steps:
        call = DOINGS[step.do]
        world.kernel.at(step.at, partial(call, world, **step.args))


def _finish(world: World) -> None:
    world.heal()
    if world.schedulers:
        _finish_schedules(world)
    until = world.kernel.now + _LONGEST_END
    calm_since: float | None = None
    while world.kernel.now < until and not world.is_over():
        if not world.is_calm() or world.kernel.now < world.network.late_until:
            calm_since = None
        elif calm_since is None:
            calm_since = world.kernel.now
        elif world.kernel.now - calm_since >= _SECONDS_TO_TIDY and _is_tidy(world):
            break
        world.kernel.run(world.kernel.now + 1.0, world.is_over)
    if not world.is_over():
        world.model.check_end(world.unfinished(), world.results())
        world.model.check_left(world.left())
        world.model.check_gone(world.gone_but_known())


def _is_tidy(world: World) -> bool:
    return not (unexpected(world.left()) or world.gone_but_known())


def _finish_schedules(world: World) -> None:
    """All schedules go on; then there are no schedulers any more."""
    until = world.kernel.now + _SECONDS_TO_SCHEDULE
    world.kernel.run(until, world.is_over)
    if not (world.network.is_down or world.model.broken):
        world.model.occurrences.check_going_on(TABLE, ADDED)
    for slot in world.schedulers:
        world.kill_scheduler(slot)
