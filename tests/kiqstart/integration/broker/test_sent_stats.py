"""What programs send is counted, each message once, and costs no send a command."""

import asyncio
import sys

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker import sent_stats
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.stats_batch import FLUSH
from kiqstart.broker.task_stats import read_task_stats
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

PROGRAM = """
import asyncio, sys
from kiqstart.broker.broker import StreamBroker

broker = StreamBroker(sys.argv[1], queue_name=sys.argv[2])

@broker.task("report")
async def report() -> None: ...

for _ in range(3):
    asyncio.run(report.kiq())
"""


async def sent(broker: StreamBroker) -> dict[str, int]:
    return {one.task: one.sent for one in await read_task_stats(broker.connection.redis, broker.keys) if one.sent}


async def work(number: int = 0) -> int:
    return number


async def test_what_redis_has_taken_is_counted_by_task_and_added_as_the_program_ends(brokers: Brokers) -> None:
    broker, reader = brokers(), brokers()
    task = register_task(broker, work, name="work", unique="{number}")
    other = register_task(broker, work, name="other")
    for number in (1, 1, 2):
        await task.kiq(number)
    await other.kiq_many(other.call(number) for number in range(100))
    await other.kicker().with_labels(delay=60).kiq()
    await broker.shutdown()
    # The second of its key was not sent.
    assert await sent(reader) == {"work": 2, "other": 101}


async def test_it_is_added_while_the_program_goes_on_and_costs_no_command_a_send(
    brokers: Brokers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_stats, "SECONDS_BETWEEN_FLUSHES", 0.2)
    broker, reader = brokers(url=wire.url), brokers()
    task = register_task(broker, work, name="work")
    await reader.connection.client.script_load(FLUSH._text)
    for _ in range(100):
        await task.kiq()

    async def is_added() -> bool:
        return await sent(reader) == {"work": 100}

    await eventually(is_added)
    assert wire.count(FLUSH._sha) < 20
    wire.lose_answer_to(FLUSH._sha)
    await task.kiq()
    await eventually(lambda: _has(reader, 101))
    await task.kiq()
    await eventually(lambda: _has(reader, 102))


async def _has(reader: StreamBroker, count: int) -> bool:
    return await sent(reader) == {"work": count}


async def test_a_program_that_begins_a_loop_for_each_send_adds_the_last_ones_as_it_exits(
    brokers: Brokers, redis_url: str
) -> None:
    reader = brokers()
    arguments = (sys.executable, "-c", PROGRAM, redis_url, reader.queue_name)
    process = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert await sent(reader) == {"report": 3}


async def test_loops_that_end_one_after_the_other_do_not_ask_redis_each(brokers: Brokers, wire: Wire) -> None:
    reader = brokers()
    await reader.connection.client.script_load(FLUSH._text)
    broker = brokers(url=wire.url)
    task = register_task(broker, work, name="work")

    async def send() -> None:
        await task.kiq()

    def send_often() -> None:
        for _ in range(5):
            asyncio.run(send())

    await asyncio.to_thread(send_often)
    assert wire.count(FLUSH._sha) == 1
    assert await sent(reader) == {"work": 1}


async def test_a_key_that_holds_something_else_spoils_no_send(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    task = register_task(broker, work, name="work")
    await redis.set(broker.keys.stats, "something else")
    await task.kiq()
    await broker.shutdown()
    assert await redis.xlen(broker.keys.name) == 1
