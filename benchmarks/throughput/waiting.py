"""The third part: how soon a result is there, and what a worker takes that waits for tasks."""

import asyncio
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Final

from benchmarks.throughput.client import PeerError, open_client
from benchmarks.throughput.peers.protocol import WAIT_SECONDS, Answer, Way
from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.results import Figure, FiguresPart, Measure
from benchmarks.throughput.worker import Worker, running_worker

_SECONDS_BETWEEN_LOOKS: Final = 0.002
_SECONDS_OF_TRIPS: Final = 10.0
_SECONDS_TO_SETTLE: Final = 1.0
_POLL_SECONDS: Final = 0.001
_ALWAYS: Final = (
    Measure.START,
    Measure.P50,
    Measure.P99,
    Measure.RSS,
    Measure.PSS,
    Measure.IDLE_CPU,
)


async def measure_waiting(plan: Plan) -> FiguresPart:
    """Start a worker while a task waits, make round trips, and let it idle."""
    figures: list[Figure] = []
    for repetition in range(plan.repeat):
        for entrant in plan.tried:
            plan.progress.say(f"waiting, {repetition + 1} of {plan.repeat}: {entrant.name}")
            figures += await _figures(plan, entrant)
    return FiguresPart(
        environment=plan.environment,
        contestants=[one.record for one in plan.tried],
        repeat=plan.repeat,
        figures=figures,
    )


async def _figures(plan: Plan, entrant: Entrant) -> list[Figure]:
    values: dict[Measure, float] = {}
    problems: dict[Measure, str] = {}
    try:
        await _measure(plan, entrant, values, problems)
    except PeerError as error:
        problems |= {measure: str(error) for measure in Measure if measure not in values}
    plan.redis.flushdb()
    asked = (*_ALWAYS, Measure.P50_POLLING) if entrant.description.polls else _ALWAYS
    return [
        Figure(
            contestant=entrant.name,
            measure=measure,
            value=values.get(measure),
            tasks=plan.round_trips,
            problem=problems.get(measure),
        )
        for measure in asked
    ]


async def _measure(plan: Plan, entrant: Entrant, values: dict[Measure, float], problems: dict[Measure, str]) -> None:
    variables = plan.variables(entrant.installed)
    async with open_client(entrant.installed, variables, plan.log_folder, most_seconds=plan.most_seconds) as client:
        await client.send(Way.ONE_BY_ONE, 1)
        started = time.perf_counter()
        with running_worker(entrant.installed, entrant.description, variables, plan.log_folder, processes=1) as worker:
            await _first_task(plan, entrant, worker)
            values[Measure.START] = time.perf_counter() - started
            answer = await client.round_trips(plan.round_trips, seconds=_SECONDS_OF_TRIPS)
            values[Measure.P50] = _percentile(answer.trips, 50) * 1000
            values[Measure.P99] = _percentile(answer.trips, 99) * 1000
            if answer.missed:
                problems |= dict.fromkeys((Measure.P50, Measure.P99), _missed(answer))
            if entrant.description.polls:
                answer = await client.round_trips(plan.round_trips, seconds=_SECONDS_OF_TRIPS, interval=_POLL_SECONDS)
                values[Measure.P50_POLLING] = _percentile(answer.trips, 50) * 1000
            await asyncio.sleep(_SECONDS_TO_SETTLE)
            values[Measure.RSS] = worker.resident_bytes() / 2**20
            values[Measure.PSS] = worker.proportional_bytes() / 2**20
            values[Measure.IDLE_CPU] = await _idle_share(worker, plan.idle_seconds) * 100


def _missed(answer: Answer) -> str:
    what = ", ".join(sorted(set(answer.missed)))
    total = len(answer.trips) + len(answer.missed)
    return f"{len(answer.missed):,} of {total:,} callers got no result within {WAIT_SECONDS} s but {what}"


async def _first_task(plan: Plan, entrant: Entrant, worker: Worker) -> None:
    over = time.monotonic() + plan.most_seconds
    while not worker.tally.processes():
        if worker.has_ended() or time.monotonic() > over:
            lines = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise PeerError(f"{entrant.name}: the worker has run nothing: {' / '.join(lines[-3:])}")
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


async def _idle_share(worker: Worker, seconds: float) -> float:
    before = worker.cpu_seconds()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    return (worker.cpu_seconds() - before) / (time.perf_counter() - began)


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]
