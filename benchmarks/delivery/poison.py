"""What tasks that kill their workers cost the others: `python -m benchmarks.delivery.poison [suspects]`.

Each figure stands beside its limit, and the exit code is 1 where one is beyond it.

suspects: how long some that are innocent take on a single worker, as a multiple of one of them.
strikes: how many crashes a task causes before it is a dead letter, and how many dead letters its neighbours are.
deploys: how many dead letters two deploys in a row make that end in `kill -9`, 10 s after their SIGTERM.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from taskiq import AsyncTaskiqTask

from benchmarks.redis import benchmark_redis
from kiqstart.redis.client import delete_keys
from kiqstart.testing.processes import ProcessFactory, kiqstart_command

_SECONDS: Final = 600.0
_WARDS: Final = 4
_NEIGHBOURS: Final = 5
_DEPLOYS: Final = 2
_SECONDS_OF_A_TASK: Final = 15.0
_SECONDS_TO_END: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was found, and up to where it is well."""

    name: str
    value: float
    limit: float


class Bench:
    """Workers of `poison_app` on a Redis."""

    def __init__(self, redis_url: str, folder: Path, options: argparse.Namespace) -> None:
        # It looks for Redis when it is imported.
        os.environ["REDIS_URL"] = redis_url
        from benchmarks.delivery import poison_app

        self._app = poison_app
        self._url = redis_url
        self._folder = folder
        self._options = options

    async def suspects(self) -> AsyncGenerator[Figure]:
        """Innocent ones, as many as `--tasks`, each of `--seconds`."""
        count, seconds = self._options.tasks, self._options.seconds
        async with self._empty() as redis:
            sent = [await self._app.rest.kiq(seconds) for _ in range(count)]
            for entry, fields in cast(
                "list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(self._app.broker.keys.name)
            ):
                await redis.xadd(
                    self._app.broker.keys.suspects("default"), {b"data": fields[b"data"], b"deliveries": 2}
                )
                await redis.xdel(self._app.broker.keys.name, entry)
            with self._workers(1)():
                began = time.monotonic()
                await _end(sent)
                took = time.monotonic() - began
        rounds = -(-count // _WARDS)
        yield Figure(
            name=f"{count} suspects of {seconds:g} s: time / {seconds:g} s", value=took / seconds, limit=rounds + 1
        )

    async def strikes(self) -> AsyncGenerator[Figure]:
        """Of one that kills, alone and beside others, by what is allowed."""
        for allowed, quarantine, neighbours in (
            (1, "true", 0),
            (1, "true", _NEIGHBOURS),
            (2, "true", _NEIGHBOURS),
            (3, "true", _NEIGHBOURS),
            (1, "false", 0),
            (3, "false", _NEIGHBOURS),
        ):
            async with self._empty() as redis:
                guilty = await self._app.strike.kiq()
                innocent = [await self._app.rest.kiq(1.0) for _ in range(neighbours)]
                with self._workers(POISON_DELIVERIES=str(allowed), POISON_QUARANTINE=quarantine)(wait=False):
                    await _end([guilty, *innocent])
                    letters = await self._app.broker.dead_letters.count()
                struck = int(await redis.get(self._app.STRIKES) or 0)
            name = f"max_deliveries={allowed}, quarantine={quarantine}, {neighbours} beside it"
            # Who of several it was is seen once it has struck alone.
            yield Figure(name=f"{name}: crashes", value=struck, limit=max(allowed, 2 if neighbours else 1))
            yield Figure(name=f"{name}: innocent dead letters", value=letters - 1, limit=0)

    async def deploys(self) -> AsyncGenerator[Figure]:
        """In each a worker is asked to end, and killed before its tasks have."""
        async with self._empty():
            sent = [await self._app.rest.kiq(_SECONDS_OF_A_TASK) for _ in range(20)]
            for _ in range(_DEPLOYS):
                with self._workers()() as process:
                    await asyncio.sleep(1.0)
                    process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(_SECONDS_TO_END)
                    process.kill()
            began = time.monotonic()
            with self._workers()(wait=False):
                await _end(sent)
                took = time.monotonic() - began
            letters = await self._app.broker.dead_letters.count()
        yield Figure(name=f"{_DEPLOYS} hard deploys: dead letters", value=letters, limit=0)
        yield Figure(
            name=f"after them, until all have ended / {_SECONDS_OF_A_TASK:g} s",
            value=took / _SECONDS_OF_A_TASK,
            limit=2.0,
        )

    def _workers(self, number: int = 2, **environment: str) -> ProcessFactory:
        return ProcessFactory(
            command=kiqstart_command("worker", "benchmarks.delivery.poison_app:broker", "--workers", str(number)),
            environment={"REDIS_URL": self._url, **environment},
            ready="Listening started.",
            log_folder=self._folder,
        )

    @asynccontextmanager
    async def _empty(self) -> AsyncGenerator[Redis]:
        async with Redis.from_url(self._url) as redis:
            await delete_keys(redis, f"{{{self._app.QUEUE}}}")
            await delete_keys(redis, self._app.QUEUE)
            yield redis
        await self._app.broker.shutdown()


async def _end(sent: Sequence[AsyncTaskiqTask[Any]]) -> None:
    await asyncio.gather(*(one.wait_result(timeout=_SECONDS) for one in sent))


async def _measure(redis_url: str, folder: Path, options: argparse.Namespace) -> list[Figure]:
    bench = Bench(redis_url, folder, options)
    parts = [bench.suspects, bench.strikes, bench.deploys]
    return [figure for part in parts if options.part in (None, part.__name__) async for figure in part()]


def main() -> int:
    """Measure, print a table, and return the exit code."""
    options = _options()
    with benchmark_redis() as (redis_url, folder):
        figures = asyncio.run(_measure(redis_url, folder, options))
    table = Table("", "found", "limit", "")
    for one in figures:
        table.add_row(one.name, f"{one.value:.1f}", f"{one.limit:g}", "" if one.value <= one.limit else "BEYOND")
    Console().print(table)
    return int(any(one.value > one.limit for one in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.poison", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("suspects", "strikes", "deploys"), help="only this one")
    parser.add_argument("--tasks", type=int, default=6, help="innocent suspects")
    parser.add_argument("--seconds", type=float, default=10.0, help="that each takes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
