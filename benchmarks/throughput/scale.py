"""The fifth part: what becomes of kiqstart's tasks in a second when one thing grows, with plain taskiq beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.throughput.contestants import KIQSTART, TASKIQ
from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.results import Axis, ScaleFigure, ScalePart
from benchmarks.throughput.run import Order, run

_WORKERS = (1, 2, 4)
_WAITING = (1_000, 100_000, 1_000_000)
_PAYLOADS = (100, 10_000, 1_000_000)
_AT_ONCE = (1, 10, 100, 1_000)
# So that the tasks of a run fit into a small Redis.
_MOST_BYTES = 200_000_000
# What fewer take is lost in what else the server does.
_FEWEST_TO_WEIGH = 10_000
# Plain taskiq needs minutes to send more.
_MOST_WAITING_FOR_TASKIQ = 100_000


@dataclass(frozen=True, kw_only=True)
class _Point:
    axis: Axis
    name: str
    order: Order


async def measure_scale(plan: Plan) -> ScalePart:
    """Run tasks at each point of each axis, where kiqstart and plain taskiq are among the contestants."""
    names = {KIQSTART.name} if plan.is_short else {KIQSTART.name, TASKIQ.name}
    entrants = [one for one in plan.entrants if one.name in names]
    figures: list[ScaleFigure] = []
    for repetition in range(plan.repeat):
        for entrant, point in _in_turn(plan, entrants):
            plan.progress.say(f"scale, {repetition + 1} of {plan.repeat}: {point.axis}, {point.name}, {entrant.name}")
            figures += await _figures(plan, entrant, point)
    return ScalePart(
        environment=plan.environment,
        contestants=[one.record for one in entrants],
        repeat=plan.repeat,
        figures=figures,
    )


def _in_turn(plan: Plan, entrants: Sequence[Entrant]) -> Iterator[tuple[Entrant, _Point]]:
    """Every contestant at a point, then all of them at the next."""
    for key in dict.fromkeys((point.axis, point.name) for entrant in entrants for point in _points(plan, entrant)):
        for entrant in entrants:
            yield from ((entrant, point) for point in _points(plan, entrant) if (point.axis, point.name) == key)


def _points(plan: Plan, entrant: Entrant) -> Iterator[_Point]:
    tasks = plan.tasks * entrant.installed.share
    if plan.is_short:
        yield _Point(axis=Axis.TASK, name="statement", order=Order(tasks=tasks, task="statement"))
        return
    for processes in _WORKERS:
        order = Order(tasks=tasks * (2 if processes > 1 else 1), processes=processes)
        yield _Point(axis=Axis.WORKERS, name=f"{processes:,}", order=order)
    for waiting in _WAITING:
        if entrant.installed is KIQSTART or waiting <= _MOST_WAITING_FOR_TASKIQ:
            order = Order(tasks=waiting, until=min(waiting, tasks) if waiting > tasks else None)
            yield _Point(axis=Axis.WAITING, name=f"{waiting:,}", order=order)
    for size in _PAYLOADS:
        order = Order(tasks=min(tasks, _MOST_BYTES // size), task="payload", size=size)
        yield _Point(axis=Axis.PAYLOAD, name=f"{size:,}", order=order)
    for at_once in _AT_ONCE:
        # One after the other waits for Redis with each task.
        order = Order(tasks=tasks if at_once > 1 else plan.tasks, options=("--max-async-tasks", str(at_once)))
        yield _Point(axis=Axis.CONCURRENCY, name=f"{at_once:,}", order=order)
    for task in ("nothing", "statement"):
        yield _Point(axis=Axis.TASK, name=task, order=Order(tasks=plan.tasks, task=task))


async def _figures(plan: Plan, entrant: Entrant, point: _Point) -> list[ScaleFigure]:
    outcome = await run(plan, entrant, point.order)
    values = {point.axis: outcome.rate}
    if point.axis is Axis.WAITING and point.order.tasks >= _FEWEST_TO_WEIGH:
        values[Axis.MEMORY] = outcome.memory
    return [
        ScaleFigure(
            contestant=entrant.name,
            axis=axis,
            point=point.name,
            value=value,
            tasks=point.order.tasks,
            problem=outcome.problem,
        )
        for axis, value in values.items()
    ]
