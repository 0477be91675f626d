"""The second part: tasks run in a second, and what each costs a worker."""

from typing import Final

from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.results import Figure, FiguresPart, Measure
from benchmarks.throughput.run import Order, run

_MEASURES: Final = {1: Measure.RUN_1, 2: Measure.RUN_2}


async def measure_running(plan: Plan) -> FiguresPart:
    """Run tasks that do nothing, with one process and with two."""
    figures: list[Figure] = []
    for repetition in range(plan.repeat):
        for processes, measure in _MEASURES.items():
            for entrant in plan.entrants if processes == 1 else plan.tried:
                plan.progress.say(f"running, {repetition + 1} of {plan.repeat}: {processes} at work, {entrant.name}")
                figures += await _figures(plan, entrant, processes, measure)
    return FiguresPart(
        environment=plan.environment,
        contestants=[one.record for one in plan.entrants],
        repeat=plan.repeat,
        figures=figures,
    )


async def _figures(plan: Plan, entrant: Entrant, processes: int, measure: Measure) -> list[Figure]:
    tasks = plan.tasks * entrant.installed.share
    outcome = await run(plan, entrant, Order(tasks=tasks, processes=processes))
    values = {measure: outcome.rate}
    if processes == 1:
        values[Measure.CPU] = None if outcome.cpu is None else outcome.cpu * 1e6
    return [
        Figure(contestant=entrant.name, measure=one, value=value, tasks=tasks, problem=outcome.problem)
        for one, value in values.items()
    ]
