"""The fourth part: what the same commands to Redis cost in a bare loop, without a task queue around them."""

import asyncio
from contextlib import AsyncExitStack

from benchmarks.throughput.client import PeerError, open_client
from benchmarks.throughput.contestants import LIMITS
from benchmarks.throughput.entrants import enter
from benchmarks.throughput.peers.protocol import Way
from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.results import Figure, FiguresPart, Measure
from benchmarks.throughput.sending import send_each_way


async def measure_limits(plan: Plan) -> FiguresPart:
    """Send and run in loops."""
    loops = await enter(LIMITS, plan)
    figures: list[Figure] = []
    for repetition in range(plan.repeat):
        for loop in loops:
            plan.progress.say(f"limits, {repetition + 1} of {plan.repeat}: {loop.name}")
            figures += await send_each_way(plan, loop)
            for processes in (1, 2):
                figures += await _run(plan, loop, processes)
    return FiguresPart(
        environment=plan.environment,
        contestants=[loop.record for loop in loops],
        repeat=plan.repeat,
        figures=figures,
    )


async def _run(plan: Plan, loop: Entrant, processes: int) -> list[Figure]:
    tasks = plan.tasks * loop.installed.share
    measure = Measure.RUN_1 if processes == 1 else Measure.RUN_2
    values: dict[Measure, float] = {}
    problem = None
    try:
        async with AsyncExitStack() as stack:
            variables = plan.variables(loop.installed)
            clients = [
                await stack.enter_async_context(
                    open_client(loop.installed, variables, plan.log_folder, most_seconds=plan.most_seconds)
                )
                for _ in range(processes)
            ]
            await clients[0].prepare("nothing", 0)
            await clients[0].send(Way.BULK, tasks)
            runs = await asyncio.gather(*(client.run(tasks // processes) for client in clients))
        values[measure] = tasks / max(seconds for seconds, _ in runs)
        if processes == 1:
            values[Measure.CPU] = sum(cpu for _, cpu in runs) / tasks * 1e6
    except PeerError as error:
        problem = str(error)
    plan.redis.flushdb()
    if problem:
        return [Figure(contestant=loop.name, measure=measure, value=None, tasks=tasks, problem=problem)]
    return [Figure(contestant=loop.name, measure=one, value=value, tasks=tasks) for one, value in values.items()]
