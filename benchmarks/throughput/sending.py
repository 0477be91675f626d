"""The first part: tasks sent in a second, while no worker runs."""

from benchmarks.throughput.client import PeerError, open_client
from benchmarks.throughput.peers.protocol import Way
from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.results import Figure, FiguresPart, Measure

MEASURES = {
    Way.ONE_BY_ONE: Measure.ONE_BY_ONE,
    Way.IN_FLIGHT: Measure.IN_FLIGHT,
    Way.BULK: Measure.BULK,
}


async def measure_sending(plan: Plan) -> FiguresPart:
    """Send tasks in each way that a contestant has."""
    figures: list[Figure] = []
    for repetition in range(plan.repeat):
        for way in Way:
            for entrant in plan.entrants:
                if way in entrant.description.ways:
                    plan.progress.say(f"sending, {repetition + 1} of {plan.repeat}: {way}, {entrant.name}")
                    figures.append(await send(plan, entrant, way))
    return FiguresPart(
        environment=plan.environment,
        contestants=[one.record for one in plan.entrants],
        repeat=plan.repeat,
        figures=figures,
    )


async def send(plan: Plan, entrant: Entrant, way: Way) -> Figure:
    """Send tasks in one way."""
    tasks = plan.tasks * (1 if way is Way.ONE_BY_ONE else entrant.installed.share)
    value, problem = None, None
    try:
        async with open_client(
            entrant.installed, plan.variables(entrant.installed), plan.log_folder, most_seconds=plan.most_seconds
        ) as client:
            # Connections are opened, and scripts loaded, with the first sends.
            await client.send(Way.ONE_BY_ONE, 10)
            value = tasks / await client.send(way, tasks)
    except PeerError as error:
        problem = str(error)
    plan.redis.flushdb()
    return Figure(contestant=entrant.name, measure=MEASURES[way], value=value, tasks=tasks, problem=problem)
