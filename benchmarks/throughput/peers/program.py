"""The program of a peer: it reads steps from standard input and takes them."""

import asyncio
import json
import platform
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from benchmarks.throughput.peers.protocol import AT_ONCE, About, Answer, Description, Request, Way


class Peer(ABC):
    """A library, as a program that sends tasks uses it. `about` describes it."""

    about: About

    @abstractmethod
    async def start(self) -> None:
        """Connect."""

    @abstractmethod
    async def send(self) -> object:
        """Send a task that does nothing."""

    @abstractmethod
    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result, as the library does it, or looking for it each `interval` seconds."""

    async def prepare(self, task: str, size: int) -> None:
        """Send another task from now on."""
        raise NotImplementedError(f"there is no task {task!r} with an argument of {size} characters")

    async def send_in_flight(self, count: int) -> None:
        """Send one by one from many places at once."""
        left = iter(range(count))

        async def send_until_none_left() -> None:
            for _ in left:
                await self.send()

        await asyncio.gather(*(send_until_none_left() for _ in range(AT_ONCE)))

    async def send_bulk(self, count: int) -> None:
        """Send many with one call."""
        raise NotImplementedError(f"there is no way to send {count} tasks with one call")

    async def run(self, count: int) -> None:
        """Run tasks in this process."""
        raise NotImplementedError(f"only workers run {count} tasks")

    async def stop(self) -> None:  # noqa: B027 - not all have anything to close
        """Disconnect."""


def serve(peer: Peer) -> None:
    """Take steps until standard input ends."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        has_started = False
        for line in sys.stdin:
            request = Request(**json.loads(line))
            try:
                if request.step != "describe" and not has_started:
                    runner.run(peer.start())
                    has_started = True
                answer = runner.run(_take(peer, request))
            except Exception as error:  # noqa: BLE001 - whatever a library raises is told
                answer = Answer(error=f"{type(error).__name__}: {error}")
            print(json.dumps(asdict(answer)), flush=True)
        if has_started:
            runner.run(peer.stop())


async def _take(peer: Peer, request: Request) -> Answer:
    match request.step:
        case "describe":
            return Answer(description=_describe(peer.about))
        case "prepare":
            await peer.prepare(request.task, request.size)
            return Answer()
        case "send":
            began = time.perf_counter()
            await _send(peer, request.way, request.count)
            return Answer(seconds=time.perf_counter() - began)
        case "run":
            began, began_cpu = time.perf_counter(), time.process_time()
            await peer.run(request.count)
            return Answer(seconds=time.perf_counter() - began, cpu=time.process_time() - began_cpu)
        case "round_trips":
            return await _round_trips(peer, request)
        case step:
            raise ValueError(f"no step {step!r}")


async def _send(peer: Peer, way: str, count: int) -> None:
    match way:
        case Way.ONE_BY_ONE:
            for _ in range(count):
                await peer.send()
        case Way.IN_FLIGHT:
            await peer.send_in_flight(count)
        case _:
            await peer.send_bulk(count)


async def _round_trips(peer: Peer, request: Request) -> Answer:
    interval = request.interval
    # The first one connects.
    await peer.round_trip(interval)
    trips: list[float] = []
    missed: list[str] = []
    over = time.perf_counter() + request.seconds
    while len(trips) < request.count and time.perf_counter() < over:
        began = time.perf_counter()
        try:
            await peer.round_trip(interval)
        except Exception as error:  # noqa: BLE001 - each library has an error of its own for it
            missed.append(type(error).__name__)
        else:
            trips.append(time.perf_counter() - began)
    return Answer(trips=tuple(trips), missed=tuple(missed))


def _describe(about: About) -> Description:
    versions = {"Python": platform.python_version()}
    for package in about.packages:
        # What only makes it faster need not be there.
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return Description(
        settings=about.settings,
        acknowledged=about.acknowledged,
        ways=about.ways,
        worker=about.worker,
        unfinished=about.unfinished,
        results=about.results,
        polls=about.polls,
        versions=versions,
    )


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.Loop
