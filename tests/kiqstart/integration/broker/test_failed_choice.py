"""Whichever runs there are, those are sent again that a plain look at all of them finds."""

import json
import random
from collections.abc import Sequence
from typing import Final

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.queued_tasks import QueuedTasks
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.operations.run_resending import FailedRuns
from kiqstart.operations.run_selection import by_parameters
from kiqstart.redis.commands import milliseconds
from kiqstart.testing import eventually

_CHOICES: Final = (
    FailedRuns(),
    FailedRuns(task="mail.send0"),
    FailedRuns(task="näme"),
    FailedRuns(queue="low"),
    FailedRuns(since="45m"),
    FailedRuns(text="customer-1"),
    FailedRuns(text="no mail"),
    FailedRuns(arguments=["to=customer-2"]),
    FailedRuns(task="mail.send1", queue="default", since="65m", text="CUSTOMER"),
    FailedRuns(text="nowhere"),
)
_IDS: Final = (*(f"id-{number}" for number in range(30)), "ïd", 'id"quoted"', "id/path", "", "ID-1")


def _message(rng: random.Random) -> bytes:
    task_id, customer = rng.choice(_IDS), f"customer-{rng.randrange(4)}"
    task = rng.choice(["mail.send0", "mail.send1", "näme"])
    all_args: list[list[object]] = [[], [customer, {"task_id": "id-2", "task_name": "x"}], ['{"task_id":"id-3"}']]
    args = rng.choice(all_args)
    fields = {"task_id": task_id, "task_name": task, "labels": {}, "args": args, "kwargs": {"to": customer}}
    if rng.random() < 0.1:
        fields = dict(reversed(fields.items()))
    data = json.dumps(fields, ensure_ascii=rng.random() < 0.5, separators=rng.choice([None, (",", ":")])).encode()
    kind = rng.random()
    if kind < 0.1:
        return data[: rng.randrange(len(data))]
    if kind < 0.15:
        return data[:-1] + rng.choice([b',"task_\\u0069d":4}', b',"task_id":"id-5"}'])
    return data if kind < 0.95 else rng.choice([b"", b"\xff", b"[1]", b'{"task_id":7}', b'{"task_id":"\xff"}'])


def _block(rng: random.Random, letter: str, now_ms: int) -> bytes:
    block = f"1{letter} {rng.choice(['low', 'default', 'default'])} kiq-9c host:4711\n".encode()
    for _ in range(rng.choice([1, 1, 3])):
        data = _message(rng)
        problem = f"LookupError: no mail of {rng.randrange(3)}".encode() if letter in "fd" else b""
        log = rng.choice([b"", b" 3"])
        block += f"{now_ms}-0 {now_ms} 400 1 0 {len(data)} 0 {len(problem)}".encode() + log + b"\n"
        block += data + problem + (b"log" if log else b"")
    return block


async def _add(broker: StreamBroker, rng: random.Random, first: int, count: int, now_ms: int) -> None:
    """Blocks that ended within the last hundred minutes, of which half ended well."""
    redis, keys = broker.connection.client, broker.keys
    for number in range(first, first + count):
        letter = rng.choice("ffffdsssrc")
        # Two end in each millisecond, and twenty in each ten minutes.
        ended = now_ms - 6_000_000 + number // 20 * 600_000 + number % 20 // 2
        name = f"{3 * number + 1}-{ended}"
        block = (
            rng.choice([b"", b"2f default", b"1x a b c:1\n"]) if rng.random() < 0.05 else _block(rng, letter, now_ms)
        )
        await redis.xadd(keys.failed_runs if letter in "fd" else keys.runs, {"runs": block}, id=name)


async def _move_some(broker: StreamBroker, rng: random.Random, now_ms: int) -> None:
    """Let some wait, be delayed, or have been sent again; of those that did, some have gone on since."""
    redis, keys = broker.connection.client, broker.keys
    queues = keys.all_locations(["default", "low"])
    await redis.sadd(keys.queues, "low")
    for task_id in rng.sample(_IDS, 4):
        message = json.dumps(
            {"task_id": task_id, "task_name": "x", "labels": {}, "labels_types": {}, "args": [], "kwargs": {}}
        )
        await redis.xadd(rng.choice(queues), {"data": message})
    for queue in queues:
        for entry, _ in await broker.connection.redis.xrange(queue):
            if rng.random() < 0.3:
                await redis.xdel(queue, entry)
    await redis.zadd(keys.delayed, {rng.choice(_IDS): now_ms + 60_000})
    failed = [run.id for run in await read_runs(broker.connection.redis, keys) if run.outcome is Outcome.FAILED]
    await redis.zadd(keys.resent_runs, dict.fromkeys(rng.sample(failed, min(len(failed), 3)), 1))


async def _looked_for(broker: StreamBroker, failed: FailedRuns, runs: Sequence[Run]) -> list[str]:
    """What is to be found, of all runs, newest first."""
    redis, keys, which = broker.connection.redis, broker.keys, by_parameters(failed.which, broker)
    have_failed = [run for run in runs if run.outcome in (Outcome.FAILED, Outcome.DEAD)]
    last: dict[str, Run] = {}
    for run in have_failed:
        if run.task_id is not None:
            last.setdefault(run.task_id, run)
    others = [run for run in runs if run.outcome not in (Outcome.FAILED, Outcome.DEAD)]
    queued = [
        json.loads(fields[b"data"])["task_id"]
        for queue in keys.all_locations(["default", "low"])
        for _, fields in await redis.xrange(queue)
    ]
    there = {*queued, *(name.decode() for name in await redis.zrange(keys.delayed, 0, -1))}
    resent = {name.decode() for name in await redis.zrange(keys.resent_runs, 0, -1)}
    return [
        run.id
        for run in last.values()
        if which.fits(run)
        and run.task_id not in there
        and run.id not in resent
        and not any(other.task_id == run.task_id and other.ended > run.ended for other in others)
    ][::-1]


@pytest.mark.parametrize("seed", range(2))
async def test_the_same_are_chosen_from_memory_as_from_redis(
    brokers: Brokers, redis: Redis, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Many pages and segments of few runs.
    monkeypatch.setattr("kiqstart.broker.run_pages._FIRST_READ", 2)
    monkeypatch.setattr("kiqstart.broker.run_pages.MOST_AT_ONCE", 20)
    monkeypatch.setattr("kiqstart.broker.run_text._SEGMENT_BYTES", 2000)
    rng, broker = random.Random(seed), brokers()  # noqa: S311  # no secret
    index, small = RunIndex(broker.keys), RunIndex(broker.keys, most_bytes=5000)
    queued, found = QueuedTasks(broker), set[str]()
    now_ms = await milliseconds(broker.connection.redis)
    for step in range(6):
        if step % 2 == 0:
            await _add(broker, rng, step * 30, 60, now_ms)
            await _move_some(broker, rng, now_ms)
        else:
            # Nothing is added: the dashboard learns of it only by looking.
            await redis.xtrim(broker.keys.failed_runs, minid=str(60 * step), approximate=False)
            await redis.xtrim(broker.keys.runs, minid=str(60 * step + 90), approximate=False)
        runs = await read_runs(broker.connection.redis, broker.keys, limit=10_000)
        for failed in _CHOICES:
            expected = await _looked_for(broker, failed, runs)
            found.update(expected)
            for of_runs, of_queues in ((None, None), (index, queued), (small, queued)):
                chosen = await failed.runs(broker, index=of_runs, queued=of_queues)
                assert [run.id for run in chosen] == expected, (failed, of_runs, of_queues)
    assert len(found) > 20


async def test_what_is_in_memory_is_read_from_redis_no_more(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, rng = brokers(), random.Random(7)  # noqa: S311  # no secret
    now_ms = await milliseconds(broker.connection.redis)
    await _add(broker, rng, 0, 100, now_ms)
    index, queued = RunIndex(broker.keys), QueuedTasks(broker)
    await index.refresh(broker.connection.redis)

    async def is_filled() -> bool:
        return index.is_filled

    await eventually(is_filled)
    expected = await FailedRuns().runs(broker)
    monkeypatch.delattr("kiqstart.broker.named_walks.read_pages")
    monkeypatch.delattr("kiqstart.broker.task_search.read_pages_onward")
    assert await FailedRuns().runs(broker, index=index, queued=queued) == expected
    assert expected
