import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import pytest
from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, keys_of, letters_of, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.settler import _SETTLE
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError, UnknownTaskError
from kiqstart.testing import eventually


async def double(number: int = 1) -> int:
    return number * 2


async def consumers(redis: Redis, broker: StreamBroker, stream: str) -> set[str]:
    found = cast("list[dict[str, str]]", await redis.xinfo_consumers(stream, broker.consumer_group_name))
    return {consumer["name"] for consumer in found}


def nothing_is_pending(redis: Redis, broker: StreamBroker, stream: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        summary = cast("dict[str, int]", await redis.xpending(stream, broker.consumer_group_name))
        return summary["pending"] == 0 and await redis.xlen(stream) == 0

    return ask


async def test_tasks_are_run_that_were_sent_before_there_was_a_group(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    sent = [await task.kiq(number=number) for number in range(3)]
    async with working(broker):
        assert [(await one.wait_result(timeout=HANG)).return_value for one in sent] == [0, 2, 4]


async def test_finished_tasks_leave_only_results_in_redis_and_these_expire(
    brokers: Brokers, redis: Redis, queue_name: str
) -> None:
    broker = brokers()
    task = register_task(broker, double, name="double")
    flaky_tries = 0

    async def flaky() -> None:
        nonlocal flaky_tries
        flaky_tries += 1
        if flaky_tries == 1:
            raise OSError

    async with working(broker):
        sent: list[AsyncTaskiqTask[int]] = [await task.kiq(number=number) for number in range(50)]
        sent.append(await task.kicker().after(0.2).kiq())
        sent.append(await task.kicker().with_labels(unique="key").kiq())
        again = await register_task(broker, flaky, name="flaky", max_retries=1, retry_delay=0.1).kiq()
        for one in sent:
            assert not (await one.wait_result(timeout=HANG)).is_err
        assert not (await again.wait_result(timeout=HANG)).is_err
        for stream in broker.keys.streams("default"):
            assert await nothing_is_pending(redis, broker, stream)()
    for stream in broker.keys.streams("default"):
        assert await consumers(redis, broker, stream) == set()
    results = {f"result:{task_id}" for task_id in [*(one.task_id for one in sent), again.task_id]}
    left = await keys_of(redis, queue_name)
    expiring = {key for key in left if key.startswith(("sender:", "stats:"))}
    lasting = {"", "returned", "suspects", "isolated", "epoch", "queues", "layout", "group", "stats"}
    assert left - expiring - results - {"runs", "runs:counts", "workers:registered"} == lasting
    assert results <= left
    for key in results | expiring:
        assert await redis.pttl(f"{queue_name}:{key}") > 0


async def test_what_redis_has_handed_to_a_worker_that_never_got_it_is_run(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0))
    task = register_task(broker, double, name="double")
    stream = broker.keys.stream("default")
    # Registered, but nothing reads yet.
    consumer = await broker.consume()
    sent = await task.kiq(number=4)
    # As if the connection were cut after Redis had made the worker's read.
    await redis.xreadgroup(broker.consumer_group_name, consumer.lease.worker, {stream: ">"})
    async with working(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 8


async def test_a_worker_that_ends_gives_back_what_was_on_its_way_to_it(brokers: Brokers, redis: Redis) -> None:
    # What is not given back stays with the worker for a lease: for longer than the test lasts.
    broker = brokers(options=StreamOptions(lease=60.0))
    task = register_task(broker, double, name="double")
    stream = broker.keys.stream("default")
    consumer = await broker.consume()
    await task.kiq(number=4)
    # As if taskiq's own receiver had cancelled the read.
    await redis.xreadgroup(broker.consumer_group_name, consumer.lease.worker, {stream: ">"})
    await broker.shutdown()
    assert await consumers(redis, broker, stream) == set()
    (entry,) = cast("list[tuple[str, dict[str, str]]]", await redis.xrange(broker.keys.returned("default")))
    assert entry[1]["deliveries"] == "0"


@pytest.mark.parametrize("place", ["stream", "returned"])
async def test_what_a_consumer_has_that_is_no_worker_any_more_is_run(
    brokers: Brokers, redis: Redis, place: str
) -> None:
    broker = brokers(options=StreamOptions(lease=1.0))
    task = register_task(broker, double, name="double")
    sent = await task.kiq(number=4)
    stream = broker.keys.stream("default")
    if place == "returned":
        await redis.rename(stream, broker.keys.returned("default"))
        stream = broker.keys.returned("default")
    await redis.xgroup_create(stream, broker.consumer_group_name, "0")
    await redis.xreadgroup(broker.consumer_group_name, "kiq-gone", {stream: ">"})
    async with working(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 8
        assert "kiq-gone" not in await consumers(redis, broker, stream)
        await eventually(nothing_is_pending(redis, broker, stream))


async def test_a_consumer_of_plain_taskiq_redis_keeps_what_it_has(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0))
    sent = await register_task(broker, double, name="double").kiq()
    stream = broker.keys.stream("default")
    await redis.xgroup_create(stream, broker.consumer_group_name, "0")
    await redis.xreadgroup(broker.consumer_group_name, "plain", {stream: ">"})

    async def janitor_was_there() -> bool:
        return "kiq-gone" not in await consumers(redis, broker, stream)

    async with working(broker):
        for _ in range(2):
            await redis.xgroup_createconsumer(stream, broker.consumer_group_name, "kiq-gone")
            await eventually(janitor_was_there)
        assert not await sent.is_ready()
        assert "plain" in await consumers(redis, broker, stream)


async def test_what_cannot_be_run_is_a_dead_letter_and_holds_nothing_up(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, misfit_grace=0.2))
    task = register_task(broker, double, name="double")
    stream = broker.keys.stream("default")
    unknown = json.dumps({"task_id": "some-id", "task_name": "nobody's", "labels": {}, "args": [], "kwargs": {}})
    invalid = json.dumps({"task_id": "other-id", "task_name": "double", "labels": {}, "args": ["x"], "kwargs": {}})
    await redis.xadd(stream, {"strange": "field"})
    for data in ("no JSON", unknown, invalid):
        await redis.xadd(stream, {"data": data})
    sent = await task.kiq(number=4)
    async with working(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 8

        async def all_are_buried() -> bool:
            return await redis.xlen(broker.keys.dead) == 4

        await eventually(all_are_buried)
    letters = await letters_of(redis, broker)
    assert [letter["reason"] for letter in letters].count("malformed") == 2
    assert {"data": "no JSON", "reason": "malformed"}.items() <= letters[1].items()
    reasons = {json.loads(letter["data"])["task_id"]: letter["reason"] for letter in letters[2:]}
    assert reasons == {"some-id": "unknown-task", "other-id": "invalid-arguments"}
    assert any(letter["detail"].startswith("the entry has no field 'data'") for letter in letters)
    assert {letter["deliveries"] for letter in letters} == {"1"}
    error = (await broker.result_backend.get_result("some-id")).error
    assert isinstance(error, UnknownTaskError)
    assert str(error) == 'no worker has the task "nobody\'s"; the message is among the dead letters'


async def test_a_task_is_run_once_when_the_answer_to_its_end_is_lost(
    brokers: Brokers, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    broker = brokers(url=wire.url)
    runs = 0

    async def run_once() -> int:
        nonlocal runs
        runs += 1
        wire.lose_answer_to(_SETTLE._sha)
        return runs

    caplog.set_level("INFO", "kiqstart")
    async with working(broker):
        task = register_task(broker, run_once, name="run-once")
        sent = await task.kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == 1

        async def has_settled() -> bool:
            return not len((await broker.consume()).in_flight)

        await eventually(has_settled)
    assert (wire.lost_answers, runs) == (1, 1)
    # What is said is that Redis was away, if a read was cut off too; nothing was given to others, nothing runs again.
    ours = [record.message for record in caplog.records if record.name.startswith("kiqstart.")]
    said = {message.partition(",")[0].partition(" in ")[0] for message in ours}
    ended = "Task run-once succeeded"
    assert said <= {"Listening started.", ended, "The queue is out of reach", "The queue is back"}
    assert sum(message.startswith(ended) for message in ours) <= 1


@pytest.mark.parametrize("is_waited_for", [True, False], ids=["from a queue with others", "on an idle queue"])
async def test_without_quarantine_suspects_run_one_at_a_time_beside_the_others(
    brokers: Brokers, redis: Redis, *, is_waited_for: bool
) -> None:
    broker = brokers()
    running: set[int] = set()
    beside: dict[int, set[int]] = {}

    async def nap(number: int) -> None:
        running.add(number)
        for other in running:
            beside.setdefault(other, set()).update(running - {other})
        await asyncio.sleep(0.2)
        running.discard(number)

    task = register_task(broker, nap, name="nap")
    sent = [await task.kiq(number=number) for number in range(6)]
    # Two of them as if they had gone down with two workers.
    stream = broker.keys.stream("default")
    for entry, fields in cast("list[tuple[str, dict[str, str]]]", await redis.xrange(stream, count=2)):
        await redis.xdel(stream, entry)
        await redis.xadd(broker.keys.suspects("default"), {"data": fields["data"], "deliveries": "2"})
    async with working(broker):
        if is_waited_for:
            sent += [await task.kiq(number=number) for number in range(6, 12)]
        for one in sent:
            assert not (await one.wait_result(timeout=HANG)).is_err
    assert 0 not in beside[1]
    assert beside[0] | beside[1]
    assert beside[3]


async def test_a_task_that_is_another_workers_after_its_hooks_does_not_run_here(
    broker: StreamBroker, redis: Redis
) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    class Slow(TaskiqMiddleware):
        """Takes so long, the first time, that the worker's lease ends meanwhile."""

        times = 0

        async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
            self.times += 1
            delivery = broker.worker.delivery_of(message.task_id)
            assert delivery is not None
            if self.times == 1:
                await redis.zrem(broker.keys.workers, delivery.worker)

                async def is_lost() -> bool:
                    return delivery.is_lost

                with suppress(asyncio.CancelledError):
                    await eventually(is_lost)
            return message

    slow = Slow()
    broker.add_middlewares(slow)
    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        assert not (await sent.wait_result(timeout=HANG)).is_err
    assert (slow.times, len(runs)) == (2, 1)


async def test_large_messages_are_run_once_each_and_a_cancelled_one_not_at_all(
    broker: StreamBroker, redis: Redis
) -> None:
    runs: list[int] = []

    async def measure(number: int, text: str) -> int:
        runs.append(number)
        return len(text)

    task = register_task(broker, measure, name="measure")
    sent = [await task.kiq(number, "x" * 100_000) for number in range(30)]
    await broker.cancel(sent[20].task_id)
    async with working(broker, max_async_tasks=5):
        results = await asyncio.gather(*(one.wait_result(timeout=HANG) for one in sent))
        await eventually(nothing_is_pending(redis, broker, broker.keys.name))
    assert [result.return_value for result in results[:20]] == [100_000] * 20
    assert isinstance(results[20].error, TaskCancelledError)
    assert sorted(runs) == [number for number in range(30) if number != 20]


async def test_what_another_receiver_stores_of_a_task_that_was_given_back_is_dropped(
    broker: StreamBroker, redis: Redis
) -> None:
    task = register_task(broker, double, name="double")
    sent = await task.kiq(2)
    consumer = await broker.consume()
    (delivery,) = await consumer.fetch(1)
    consumer.in_flight.name(delivery, broker.formatter.loads(delivery.data))
    late: TaskiqResult[int] = TaskiqResult(is_err=False, return_value=5, execution_time=0.0)
    await consumer.give_back([delivery])
    await broker.result_backend.set_result(sent.task_id, late)
    await broker.shutdown()
    await broker.result_backend.set_result(sent.task_id, late)
    assert not await redis.exists(broker.keys.result(sent.task_id))
