"""The first part: tasks sent in a second, while no worker runs."""

from benchmarks.throughput.client import PeerError, open_client
from benchmarks.throughput.peers.protocol import AT_ONCE, Way
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
        for entrant in plan.entrants:
            plan.progress.say(f"sending, {repetition + 1} of {plan.repeat}: {entrant.name}")
            figures += await send_each_way(plan, entrant)
    return FiguresPart(
        environment=plan.environment,
        contestants=[one.record for one in plan.entrants],
        repeat=plan.repeat,
        figures=figures,
    )


async def send_each_way(plan: Plan, entrant: Entrant) -> list[Figure]:
    """Send tasks in the ways of a contestant, one after the other."""
    figures: list[Figure] = []
    contestant = entrant.installed
    async with open_client(
        contestant, plan.variables(contestant), plan.log_folder, most_seconds=plan.most_seconds
    ) as client:
        for way in entrant.description.ways:
            tasks = plan.tasks * (1 if way is Way.ONE_BY_ONE else contestant.share)
            value, problem = None, None
            try:
                # Connections are opened, and scripts loaded, with the first sends.
                await client.send(way, AT_ONCE)
                value = tasks / await client.send(way, tasks)
            except PeerError as error:
                problem = str(error)
            figures.append(
                Figure(contestant=entrant.name, measure=MEASURES[way], value=value, tasks=tasks, problem=problem)
            )
    plan.redis.flushdb()
    return figures
