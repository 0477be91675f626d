"""How long each page of the dashboard takes when much is kept: `python -m benchmarks.dashboard [--runs 100000]`.

So many runs that have ended, one of ten of them failed, each in a block of its own as those of slow tasks are, a tenth
as many dead letters, tasks that wait and delayed ones. Each request reads anew, as the first one of a second does: what
others of that second share is not what is measured. The very first one of a page, before the dashboard has anything in
its memory, has a column of its own.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast
from unittest.mock import patch

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.redis import benchmark_redis, empty_database
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_index import RunIndex
from kiqstart.dashboard import DashboardSettings, application, create_dashboard
from kiqstart.dashboard.looks import Looks
from kiqstart.tasks.registration import register_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redis.asyncio import Redis

_PROXY: Final = "x-forwarded-user"
_ROUNDS: Final = 20
_AT_ONCE: Final = 1000
_TRACEBACK: Final = "Traceback (most recent call last):\n" + '  File "/srv/mail/tasks.py", line 30, in send\n' * 20
_BEGAN: Final = 1_700_000_000_000


def main() -> None:
    """Fill a Redis, ask for each page, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs are kept")
    parser.add_argument("--page", action="append", help="ask for this page only; may be given several times")
    options = parser.parse_args()
    with benchmark_redis() as (redis_url, _), empty_database(redis_url) as own:
        asyncio.run(_measure(own, options.runs, options.page))


async def _measure(redis_url: str, count: int, pages: Sequence[str] | None) -> None:
    broker = StreamBroker(redis_url)
    await _fill(broker, count)
    waiting = await _let_wait(broker, count // 10)
    paths = pages or _pages(count, waiting)
    table = Table(title=f"{count:,} kept runs, {count // 10:,} dead letters; {_ROUNDS} requests of each page")
    for title in ("page", "first, ms", "median, ms", "95 %, ms"):
        table.add_column(title, justify="left" if title == "page" else "right")
    first = {path: await _first_time(broker, path) for path in paths}
    async with _browsing(broker) as (client, index):
        began = time.perf_counter()
        await _timed(client, "/runs")
        while not index.is_filled:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
        filled = time.perf_counter() - began
        for path in paths:
            await _timed(client, path)
            times = sorted([await _timed(client, path) for _ in range(_ROUNDS)])
            figures = (first[path], times[_ROUNDS // 2], times[_ROUNDS * 95 // 100])
            table.add_row(path, *(f"{one:.1f}" for one in figures))
    Console().print(table)
    Console().print(f"All runs are in the dashboard's memory {filled:.1f} s after the first look at them.")
    await broker.shutdown()


def _pages(count: int, waiting: str) -> list[str]:
    searches = (
        *("outcome=failed", "task=mail.rare", "since=1h", "queue=none", "text=customer-17", "text=no+such+word"),
        *("argument=number%3D17", "argument=customer%3Dcustomer-17", "argument=number%3D0.5"),
        *("state=waiting", "state=waiting&argument=number%3D17", "state=waiting&text=no+such+word"),
        *("state=delayed", "state=delayed&argument=number%3D-1", "state=running"),
    )
    return [
        *("/", "/queues", "/workers", "/schedules", "/runs", *(f"/runs?{one}" for one in searches)),
        *(
            "/runs/task?id=id-0",
            f"/runs/task?id=id-{count - 1}",
            f"/runs/task?id={waiting}",
            "/dead",
            "/dead?reason=retries-exhausted",
            "/acts",
        ),
        *("/dead/letter?id=id-0", f"/dead/letter?id=id-{count // 10 - 1}"),
        *("/runs/retry", "/runs/retry?task=mail.rare", "/runs/retry?text=customer-10", "/dead/retry"),
    ]


async def _first_time(broker: StreamBroker, path: str) -> float:
    async with _browsing(broker) as (client, _):
        await _timed(client, "/acts")
        return await _timed(client, path)


async def _timed(client: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    answer = await client.get(path)
    took = (time.perf_counter() - began) * 1000
    if not answer.is_success:
        raise SystemExit(f"{path}: {answer.status_code}")
    return took


@asynccontextmanager
async def _browsing(broker: StreamBroker) -> "AsyncGenerator[tuple[httpx.AsyncClient, RunIndex]]":
    settings = DashboardSettings.model_validate(
        {"secret": SecretStr("x" * 32), "proxy_header": _PROXY, "proxy_addresses": "10.0.0.9", "proxy_operators": "*"}
    )
    index = RunIndex(broker.keys)
    with patch.object(application, "RunIndex", return_value=index):
        site = create_dashboard(broker, settings)
    transport = httpx.ASGITransport(site, client=("10.0.0.9", 50000))
    headers = {_PROXY: "ada"}
    with patch.object(Looks, "_is_fresh", return_value=False):
        async with httpx.AsyncClient(transport=transport, base_url="http://site", headers=headers) as client:
            yield client, index
    await index.close()


async def _fill(broker: StreamBroker, count: int) -> None:
    redis, keys = cast("Redis", broker.connection.redis), broker.keys
    blocks = [(keys.failed_runs if has_failed else keys.runs, name, block) for name, block, has_failed in _runs(count)]
    for start in range(0, len(blocks), _AT_ONCE):
        async with redis.pipeline(transaction=False) as pipe:
            for stream, name, block in blocks[start : start + _AT_ONCE]:
                pipe.xadd(stream, {"runs": block}, id=name)
            await pipe.execute()
    for start in range(0, count // 10, _AT_ONCE):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + _AT_ONCE, count // 10)):
                letter = {
                    "queue": keys.name,
                    "reason": "retries-exhausted",
                    "detail": _TRACEBACK,
                    "data": _message(number),
                }
                pipe.xadd(keys.dead, letter)  # type: ignore[arg-type]  # redis-py's is invariant
            await pipe.execute()


async def _let_wait(broker: StreamBroker, count: int) -> str:
    """Send tasks, as many of which wait as are delayed; gives the id of the last one that waits."""

    async def send(customer: str, number: int) -> None: ...

    task = register_task(broker, send, name="mail.send")
    for start in range(0, count, _AT_ONCE):
        calls = [
            task.call(f"customer-{number % 5000}", number) for number in range(start, min(start + _AT_ONCE, count))
        ]
        await task.kicker().after(3600 + start).kiq_many(calls)
        await task.kiq_many(calls)
    return (await task.kiq("customer-0", count)).task_id


def _runs(count: int) -> Iterator[tuple[str, bytes, bool]]:
    for number in range(count):
        has_failed = number % 10 == 0
        ended = _BEGAN + number * 30
        data = _message(number)
        result = b'{"is_err":false,"return_value":"sent"}'
        problem = f"{_TRACEBACK}ConnectionError: no mail for customer-{number % 5000}".encode() if has_failed else b""
        facts = f"{ended - 500}-0 {ended - 400} 400000 1 0 {len(data)} {len(result)} {len(problem)}\n".encode()
        head = f"1{'f' if has_failed else 's'} default kiq-9c-5000 host:4711\n".encode()
        yield f"{number + 1}-{ended}", head + facts + data + result + problem, has_failed


def _message(number: int) -> bytes:
    task = "mail.rare" if number % 20_000 == 0 else f"mail.send{number % 20}"
    arguments = f'"args":["customer-{number % 5000}"],"kwargs":{{"template":"welcome","language":"en"}}'
    return f'{{"task_id":"id-{number}","task_name":"{task}","labels":{{"queue_name":"default"}},{arguments}}}'.encode()


if __name__ == "__main__":
    main()
