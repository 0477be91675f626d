"""One message, result or user that is bad harms nothing but itself."""

import asyncio
import json
import logging
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import (
    Brokers,
    entries_of,
    letters_of,
    move_entry,
    working,
)
from tests.kiqstart.integration.broker.wire import Wire
from tests.kiqstart.integration.redis.servers import make_server, running
from tests.kiqstart.integration.redis.users import url_as

from kiqstart.broker import janitor
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.reclaimer import _RECLAIM
from kiqstart.broker.sender import SendFailedError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import ResultRefusedError
from kiqstart.testing import eventually


async def double(number: int = 1) -> int:
    return number * 2


async def test_a_delayed_message_that_nobody_can_read_delays_no_other_and_becomes_a_dead_letter(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "_UNREADABLE_MS", 500)
    task = register_task(broker, double, name="double")
    for name, stored in {"later": '{"v": 2}', "slip": "", "text": "text"}.items():
        await redis.hset(broker.keys.delayed_messages, name, stored)
        await redis.zadd(broker.keys.delayed, {name: 1})
    await redis.zadd(broker.keys.delayed, {"nothing": 1})
    async with working(broker):
        sent = [await task.kicker().after(0.2).kiq(number) for number in range(10)]
        assert [(await one.wait_result(timeout=HANG)).return_value for one in sent] == [n * 2 for n in range(10)]

        async def are_buried() -> bool:
            return await broker.dead_letters.count() == 3 and not await redis.exists(broker.keys.delayed)

        await eventually(are_buried)
    letters = await letters_of(redis, broker)
    assert {letter["reason"] for letter in letters} == {"malformed"}
    assert {letter["data"] for letter in letters} == {'{"v": 2}', "", "text"}


@pytest.mark.parametrize(
    "label",
    [
        *({"delay": "1e306"}, {"due": "1e306"}, {"delay": "soon"}, {"due": "nan"}),
        *({"queue_name": name} for name in ("low:suspects", "low\n", "lo\x00w", "", "l" * 201)),
        {"unique": "k" * 8193},
    ],
    ids=lambda label: repr(label)[:30],
)
async def test_a_label_that_cannot_be_fails_its_own_send_only(
    broker: StreamBroker, label: dict[str, str | float]
) -> None:
    task = register_task(broker, double, name="double")
    bad = task.kicker().with_labels(**label).kiq()
    answers = await asyncio.gather(*(task.kiq() for _ in range(20)), bad, return_exceptions=True)
    assert [one for one in answers if isinstance(one, BaseException)] == answers[20:]
    assert isinstance(answers[20], SendFailedError)
    assert next(iter(label)) in str(answers[20])
    assert len(str(answers[20])) < 200


@pytest.mark.parametrize("has_message", [True, False])
async def test_an_entry_of_very_many_fields_is_reclaimed_as_any_other(
    broker: StreamBroker, redis: Redis, has_message: bool
) -> None:
    task = register_task(broker, double, name="double")
    first = await task.kiq(1)
    ((entry, fields),) = await entries_of(redis, broker.keys.name)
    many = {f"field-{number}": "x" for number in range(20_000)} | (fields if has_message else {})
    await move_entry(redis, entry, many, broker.keys.name, broker.keys.name)
    second = await task.kiq(2)
    await redis.xgroup_create(broker.keys.name, broker.consumer_group_name, "0")
    await redis.xreadgroup(broker.consumer_group_name, "kiq-gone", {broker.keys.name: ">"})
    async with working(broker):
        assert (await second.wait_result(timeout=HANG)).return_value == 4
        if has_message:
            assert (await first.wait_result(timeout=HANG)).return_value == 2
        else:

            async def is_buried() -> bool:
                return bool(await redis.exists(broker.keys.dead))

            await eventually(is_buried)
    letters = await letters_of(redis, broker)
    assert ["field-19999" in letter["data"] for letter in letters] == ([] if has_message else [True])


async def test_a_result_that_redis_refuses_ends_its_task_with_that_error_and_no_other_runs_again(
    queue_name: str, tmp_path: Path
) -> None:
    runs: Counter[str] = Counter()

    async def big() -> str:
        runs["big"] += 1
        return "x" * 2_000_000

    async def small(number: int) -> int:
        runs[str(number)] += 1
        return number

    with running(make_server(tmp_path / "redis", "--proto-max-bulk-len", "1048576")) as server:
        brokers = Brokers(f"redis://127.0.0.1:{server.port}", queue_name)
        broker = brokers()
        large, little = register_task(broker, big, name="big"), register_task(broker, small, name="small")
        async with working(broker):
            sent = await large.kiq()
            for number in range(50):
                assert (await (await little.kiq(number)).wait_result(timeout=HANG)).return_value == number
            error = (await sent.wait_result(timeout=HANG)).error
        await brokers.close()
    assert set(runs.values()) == {1}
    assert isinstance(error, ResultRefusedError), error


async def test_a_user_who_may_not_publish_runs_each_task_once_and_its_callers_get_their_results(
    brokers: Brokers, redis: Redis, redis_url: str, queue_name: str
) -> None:
    user = "kiq-" + queue_name.strip("{}").partition("}")[0]
    await redis.acl_setuser(user, enabled=True, passwords="+pw", reset_channels=True, keys=["*"], categories=["+@all"])
    runs: Counter[int] = Counter()

    async def note(number: int) -> None:
        runs[number] += 1

    broker = brokers(url=url_as(redis_url, user, "pw"))
    task = register_task(broker, note, name="note")
    try:
        async with working(broker):
            sent = await task.kiq_many(task.call(number) for number in range(20))
            for one in sent:
                assert not (await one.wait_result(timeout=HANG)).is_err
            assert await redis.xlen(broker.keys.name) == 0
    finally:
        await broker.shutdown()
        await redis.acl_deluser(user)
    assert runs == dict.fromkeys(range(20), 1)


async def test_a_send_whose_answer_was_lost_is_told_what_it_was_told_the_first_time(
    brokers: Brokers, wire: Wire
) -> None:
    worker, sender = brokers(), brokers(url=wire.url)
    may_end = asyncio.Event()
    ran: list[str] = []

    async def work(who: str) -> None:
        ran.append(who)
        await may_end.wait()

    tasks = [register_task(one, work, name="work", unique="key") for one in (worker, sender)]

    async def is_running() -> bool:
        return bool(ran)

    async with working(worker):
        first = await tasks[0].kiq("first")
        await eventually(is_running)
        await tasks[1].kicker().with_labels(unique="").after(60).kiq("warm up")
        wire.lose_answer_to("EVALSHA")
        wire.is_down = True
        sending = asyncio.create_task(tasks[1].kiq("second"))

        async def is_lost() -> bool:
            return wire.lost_answers == 1

        await eventually(is_lost)
        may_end.set()
        await first.wait_result(timeout=HANG)
        wire.is_down = False
        assert (await sending).task_id == first.task_id
    assert ran == ["first"]


async def test_the_caller_of_a_condemned_task_is_told_although_the_answer_was_lost(
    brokers: Brokers, redis: Redis, wire: Wire
) -> None:
    options = StreamOptions(lease=1.0, max_deliveries=1)
    broker, sender = brokers(url=wire.url, options=options), brokers()
    task = register_task(sender, double, name="double")
    sent = await task.kiq()
    suspects = broker.keys.suspects("default")
    [(entry, fields)] = await entries_of(redis, broker.keys.name)
    await move_entry(redis, entry, {**fields, "deliveries": "5"}, broker.keys.name, suspects)
    await redis.xgroup_create(suspects, "taskiq", "0")
    await redis.xreadgroup("taskiq", "kiq-dead", {suspects: ">"})
    await redis.sadd(broker.keys.queues, "default")
    await redis.script_load(_RECLAIM._text)
    wire.lose_answer_to(_RECLAIM._sha)
    await broker.consume()
    error = (await sent.wait_result(timeout=HANG)).error
    assert type(error).__name__ == "WorkerLostError"
    assert await broker.dead_letters.count() == 1


async def test_a_caller_that_gives_up_while_redis_is_away_has_sent_nothing(
    brokers: Brokers, redis: Redis, wire: Wire
) -> None:
    sender = brokers(url=wire.url)
    task = register_task(sender, double, name="double")
    await task.kicker().after(60).kiq()
    wire.is_down = True
    wire.cut()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task.kiq(1), 0.3)
    patient, refusals = asyncio.create_task(task.kiq(2)), wire.refusals

    async def nothing_is_on_its_way() -> bool:
        return wire.refusals > refusals + 1

    await eventually(nothing_is_on_its_way)
    wire.is_down = False
    sent = await patient
    entries = await entries_of(redis, sender.keys.name)
    assert [json.loads(fields["data"])["task_id"] for _, fields in entries] == [sent.task_id]


async def test_what_waits_in_a_blocked_event_loop_runs_elsewhere(brokers: Brokers, redis: Redis) -> None:
    broker, other = brokers(options=StreamOptions(lease=2.0)), brokers()
    task = register_task(broker, double, name="double")
    consumer = await broker.consume()
    sent = [await task.kiq(number) for number in range(10)]
    deliveries = await consumer.fetch(10)
    register_task(other, double, name="double")
    assert consumer.in_flight.begin(deliveries[0])

    def block_until_given_back() -> bool:
        # Nothing of this loop runs meanwhile.
        deadline = asyncio.get_running_loop().time() + HANG
        while asyncio.get_running_loop().time() < deadline:
            if sum(one.is_lost for one in deliveries) == 9:
                return True
        return False

    assert block_until_given_back()
    assert not deliveries[0].is_lost
    assert not consumer.in_flight.begin(deliveries[1])
    async with working(other):
        for one in sent[1:]:
            assert not (await one.wait_result(timeout=HANG)).is_err
    assert await redis.xlen(broker.keys.name) == 1


async def test_the_log_names_the_task_that_blocks_the_event_loop_and_says_when_that_is_over(
    broker: StreamBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def compute() -> None:
        deadline = time.monotonic() + HANG
        while "event loop has been blocked" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251  # that is the fault

    async def is_over() -> bool:
        return "The event loop turns again" in caplog.text

    task = register_task(broker, compute, name="compute")
    async with working(broker):
        sent = await task.kiq()
        await sent.wait_result(timeout=HANG)
        await eventually(is_over)
    assert re.search(rf"The event loop has been blocked for [0-9.]+ s by compute \(id {sent.task_id}\)", caplog.text)


async def test_weights_hold_for_large_messages(brokers: Brokers) -> None:
    order: list[str] = []

    async def note(queue: str, filling: str) -> int:
        order.append(queue)
        return len(filling)

    broker, sender = brokers(queues={"a": 1, "b": 1}), brokers()
    tasks = [register_task(one, note, name="note") for one in (broker, sender)]
    sent = [
        await tasks[1].kicker().with_labels(queue_name=queue).kiq(queue, "x" * 100_000)
        for _ in range(20)
        for queue in ("a", "b")
    ]
    async with working(broker, max_async_tasks=1):
        for one in sent:
            await one.wait_result(timeout=HANG)
    assert 7 <= order[:20].count("a") <= 13
