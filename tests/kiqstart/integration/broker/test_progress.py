"""How far a running task is, is known to who asks, and to nobody once it has ended."""

import asyncio
import base64
import json
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.unit.broker import pooled

from kiqstart import report_progress
from kiqstart.broker import Sealing
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import read_workers
from kiqstart.broker.script import Script
from kiqstart.broker.task_search import find_task
from kiqstart.tasks.progress import Progress
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

HALF = Progress(done=500_000, total=1_000_000, text="rows of https://me:***@db")


def half_way() -> None:
    for row in range(500_001):
        report_progress(row, 1_000_000, "rows of https://me:hunter2@db")


async def progress_of(broker: StreamBroker, task_id: str) -> Progress | None:
    found = await find_task(broker, task_id)
    return None if found is None else found.progress


async def test_what_a_task_reports_last_is_seen_while_it_runs(brokers: Brokers, redis: Redis) -> None:
    broker, other = brokers(), brokers()
    goes_on, goes_on_too = asyncio.Event(), threading.Event()

    async def count() -> None:
        half_way()
        await goes_on.wait()
        report_progress(float("nan"), 10**400, "\ud800")

    def count_in_a_thread() -> None:
        half_way()
        goes_on_too.wait(HANG)

    async_task = register_task(broker, count, name="count")
    threaded = broker.register_task(count_in_a_thread, "threaded")
    async with working(broker):
        sent = [await async_task.kiq(), await threaded.kiq()]

        async def both_are_seen() -> bool:
            return [await progress_of(other, one.task_id) for one in sent] == [HALF, HALF]

        await eventually(both_are_seen)
        [worker] = await read_workers(other)
        assert worker.slots == 100
        assert {(one.task, one.task_id, one.progress) for one in worker.running} == {
            ("count", sent[0].task_id, HALF),
            ("threaded", sent[1].task_id, HALF),
        }
        goes_on.set()
        goes_on_too.set()
        for one in sent:
            assert not (await one.wait_result(timeout=HANG)).is_err
            assert await progress_of(other, one.task_id) is None

        async def nothing_is_left() -> bool:
            return not await redis.exists(broker.keys.running)

        await eventually(nothing_is_left)


async def test_a_function_in_the_process_pool_reports_as_any_other(brokers: Brokers, tmp_path: Path) -> None:
    broker, go = brokers(), tmp_path / "go"
    task = broker.register_task(pooled.report_pages, "pages")
    async with working(broker, executor=ProcessPoolExecutor(1)):
        sent = await task.kiq(str(go))

        async def is_seen() -> bool:
            return await progress_of(broker, sent.task_id) == Progress(
                done=999, total=1000, text="pages of https://me:***@db"
            )

        await eventually(is_seen)
        go.touch()
        assert (await sent.wait_result(timeout=10)).return_value == "reported"
        assert await progress_of(broker, sent.task_id) is None


async def test_what_a_task_says_of_itself_is_encrypted_as_its_arguments_are(brokers: Brokers, redis: Redis) -> None:
    keys = [f"a:{base64.b64encode(os.urandom(32)).decode()}" for _ in range(2)]
    sealing = Sealing(signing_keys=keys[0], encryption_keys=keys[1])
    broker, reader, stranger = brokers(sealing=sealing), brokers(sealing=sealing), brokers()
    goes_on = asyncio.Event()

    async def count() -> None:
        report_progress(1, 2, "letters of swordfish-7")
        await goes_on.wait()

    task = register_task(broker, count, name="count")
    async with working(broker):
        sent = await task.kiq()

        async def is_seen() -> bool:
            return await progress_of(reader, sent.task_id) == Progress(done=1, total=2, text="letters of swordfish-7")

        await eventually(is_seen)
        assert await progress_of(stranger, sent.task_id) == Progress(done=1, total=2, text="encrypted")
        said = await redis.hvals(broker.keys.running)
        assert not any("swordfish" in str(one) for one in said)
        # What has not changed is not said anew with each beat.
        [worker] = await redis.hkeys(broker.keys.running)
        beat = await redis.zscore(broker.keys.workers, worker)

        async def beats_on() -> bool:
            return (await redis.zscore(broker.keys.workers, worker) or 0) > (beat or 0) + 1000

        await eventually(beats_on)
        assert await redis.hvals(broker.keys.running) == said
        goes_on.set()
        await sent.wait_result(timeout=10)


async def test_nobody_takes_a_lost_workers_word(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    goes_on = asyncio.Event()
    task = register_task(broker, goes_on.wait, name="wait")
    async with working(broker):
        sent = await task.kiq()

        async def runs() -> bool:
            workers = await read_workers(broker)
            return bool(workers and workers[0].running)

        await eventually(runs)
        [worker] = await read_workers(broker)
        said = json.dumps([{"entry": "1-0@elsewhere", "task": "x", "id": sent.task_id, "began": 1, "done": 1}])
        await redis.hset(broker.keys.running, worker.name, said)
        assert await progress_of(broker, sent.task_id) is None
        keys = [broker.keys.workers, broker.keys.running]
        await Script("say_running")(redis, keys, ["kiq-lost", said, 1000])
        assert await redis.hkeys(broker.keys.running) == [worker.name]
        goes_on.set()
        await sent.wait_result(timeout=HANG)


async def test_what_strangers_say_runs_is_passed_over(broker: StreamBroker, redis: Redis) -> None:
    seconds, _ = await redis.time()
    odd = ["no JSON", "{}", '[1, {"entry": 1}]', "[" * 5000, '[{"entry": "", "task": "", "id": "", "began": 1e999}]']
    for name, said in zip("abcde", odd, strict=True):
        await redis.zadd(broker.keys.workers, {name: seconds * 1000})
        await redis.hset(broker.keys.running, name, said)
    assert [len(one.running) for one in await read_workers(broker)] == [0, 0, 0, 0, 0]
    await redis.delete(broker.keys.running)
    await redis.set(broker.keys.running, "another type")
    assert len(await read_workers(broker)) == len(odd)


def test_a_report_outside_a_task_is_nothing() -> None:
    report_progress(1, 2)
