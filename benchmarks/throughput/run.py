"""A run: tasks that wait, and a worker that is started and takes them."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from benchmarks.throughput.client import PeerError, open_client
from benchmarks.throughput.peers.protocol import Way
from benchmarks.throughput.plan import Entrant, Plan
from benchmarks.throughput.worker import Worker, running_worker

_SECONDS_BETWEEN_LOOKS: Final = 0.005
_SCANNED_AT_ONCE: Final = 10_000
# Fewer than this share of the tasks, run after the last process joined in, tell little.
_LEAST_SHARE: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to run.

    Args:
        tasks: how many are sent before the worker starts.
        processes: of the worker.
        options: further ones of its command.
        task: which one is sent.
        size: characters of its argument.
        until: after how many the run is over, if not after all.
    """

    tasks: int
    processes: int = 1
    options: Sequence[str] = ()
    task: str | None = None
    size: int = 0
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Tasks in a second and seconds of CPU a task, each None where it went wrong; `memory` is bytes a waiting task."""

    rate: float | None = None
    cpu: float | None = None
    memory: float | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Look:
    at: float
    count: int
    cpu: float


async def run(plan: Plan, entrant: Entrant, order: Order) -> Outcome:
    """Send tasks, start a worker, and wait until each has run and has its result; nothing of it is left in Redis."""
    try:
        memory = await _send(plan, entrant, order)
        with running_worker(
            entrant.installed,
            entrant.description,
            plan.variables(entrant.installed),
            plan.log_folder,
            processes=order.processes,
            options=order.options,
        ) as worker:
            first, last = await _watch(plan, entrant, order, worker)
            problem = _problem(plan, entrant, order, worker, first)
        finished = last.count >= (order.until or order.tasks)
        done = last.count - first.count
        return Outcome(
            rate=done / (last.at - first.at) if finished and done else None,
            cpu=(last.cpu - first.cpu) / done if finished and done else None,
            memory=memory,
            problem=problem,
        )
    except PeerError as error:
        return Outcome(problem=str(error))
    finally:
        plan.redis.flushdb()


async def _send(plan: Plan, entrant: Entrant, order: Order) -> float:
    before = _memory(plan)
    ways = entrant.description.ways
    async with open_client(
        entrant.installed, plan.variables(entrant.installed), plan.log_folder, most_seconds=plan.most_seconds
    ) as client:
        if order.task is not None:
            await client.prepare(order.task, order.size)
        quickest = ways[-1]
        await client.send(Way(quickest), order.tasks)
    return (_memory(plan) - before) / order.tasks


async def _watch(plan: Plan, entrant: Entrant, order: Order, worker: Worker) -> tuple[_Look, _Look]:
    """Look when all processes are at work, and when all tasks have ended."""
    tally, until = worker.tally, order.until or order.tasks
    over = time.monotonic() + plan.most_seconds

    async def look_until(is_so: Callable[[], bool]) -> None:
        while not is_so() and not worker.has_ended() and time.monotonic() < over:  # noqa: ASYNC110  # others do it
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    await look_until(lambda: tally.processes() > 0)
    first = _look(worker)
    await look_until(lambda: tally.processes() == order.processes or tally.count() >= until)
    if tally.processes() == order.processes > 1 and tally.count() < until:
        first = _look(worker)
    await look_until(lambda: tally.processes() > 0 and tally.count() >= until)
    await look_until(lambda: order.until is not None or _unfinished(plan, entrant, order) <= 0)
    return first, _look(worker)


def _look(worker: Worker) -> _Look:
    return _Look(at=time.perf_counter(), count=worker.tally.count(), cpu=worker.cpu_seconds())


def _unfinished(plan: Plan, entrant: Entrant, order: Order) -> int:
    return int(str(plan.redis.eval(f"return {entrant.description.unfinished}", 0, str(order.tasks))))


def _problem(plan: Plan, entrant: Entrant, order: Order, worker: Worker, first: _Look) -> str | None:
    count, until = worker.tally.count(), order.until or order.tasks
    if count < until:
        how = "its worker ended" if worker.has_ended() else f"was stopped after {plan.most_seconds:.0f} s"
        return f"{how} with {count:,} of {order.tasks:,} tasks run"
    if order.until is None and (results := _results(plan, entrant)) != order.tasks:
        return f"of {order.tasks:,} tasks {results:,} have a result"
    if order.until is None and count > order.tasks:
        return f"ran {count - order.tasks:,} of {order.tasks:,} tasks again"
    if worker.tally.processes() < order.processes or until - first.count < until * _LEAST_SHARE:
        return f"{until:,} tasks were almost done when the last process joined in: take more with --tasks"
    return None


def _results(plan: Plan, entrant: Entrant) -> int:
    found = cast("Iterator[bytes]", plan.redis.scan_iter(match=entrant.description.results, count=_SCANNED_AT_ONCE))
    return len(set(found))


def _memory(plan: Plan) -> int:
    return int(plan.redis.info("memory")["used_memory"])
