import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from taskiq.serializers import JSONSerializer
from tests.deadlines import HANG
from tests.fork_server.client import run_forked
from tests.kiqstart.integration.broker.brokers import Brokers, keys_of, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.sender import SendFailedError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task_ids import InvalidTaskIdError
from kiqstart.testing import eventually
from kiqstart.testing.queues import waiting_messages

APPS = "tests.kiqstart.integration.broker.apps"


async def double(number: int = 1) -> int:
    return number * 2


async def sent_numbers(redis_url: str, queue_name: str) -> list[int]:
    return [message.kwargs["number"] for message in await waiting_messages(redis_url, queue_name)]


async def test_what_is_sent_at_once_shares_a_round_trip_and_keeps_its_order(
    brokers: Brokers, wire: Wire, redis_url: str, queue_name: str
) -> None:
    task = register_task(brokers(url=wire.url), double, name="double")
    await task.kiq(number=-1)
    wire.forget()
    await asyncio.gather(*(task.kiq(number=number) for number in range(200)))
    assert wire.count("EVALSHA") == 1
    assert await sent_numbers(redis_url, queue_name) == list(range(-1, 200))


def test_a_broker_that_was_never_started_sends_in_one_event_loop_after_another(redis_url: str, queue_name: str) -> None:
    broker = StreamBroker(redis_url, queue_name=queue_name)
    task = register_task(broker, double, name="double")

    async def send(number: int) -> None:
        await task.kiq(number=number)
        await broker.shutdown()

    for number in range(3):
        asyncio.run(send(number))
    assert asyncio.run(sent_numbers(redis_url, queue_name)) == [0, 1, 2]


async def in_process_of_its_own(command: list[str]) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run_forked, command, environment=os.environ, folder=Path.cwd(), timeout=HANG)


async def test_a_process_and_its_fork_send_with_one_broker(redis_url: str, queue_name: str) -> None:
    command = [sys.executable, "-m", f"{APPS}.forking", redis_url, queue_name]
    done = await in_process_of_its_own(command)
    assert (done.returncode, done.stderr) == (0, "")
    names = [message.kwargs["name"] for message in await waiting_messages(redis_url, queue_name)]
    assert names == ["before", "child", "after"]


class AbortedError(Exception):
    """The program has ended itself by SIGABRT."""


async def fork_a_loop(*arguments: str) -> str:
    command = [sys.executable, "-m", f"{APPS}.forking_loop", *arguments]
    done = await in_process_of_its_own(command)
    if done.returncode == -signal.SIGABRT:
        raise AbortedError
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("end", ["close", "exit"])
async def test_a_child_that_goes_on_with_its_parents_event_loop_sends_by_itself(
    redis_url: str, queue_name: str, end: str
) -> None:
    # "True": the parent's connections are still the ones that it had.
    assert await fork_a_loop(redis_url, queue_name, "asyncio", end) == "True\n"
    names = [message.kwargs["name"] for message in await waiting_messages(redis_url, queue_name)]
    sent = [f"{who} {number} {half}" for who in ("child", "parent") for number in range(50) for half in range(2)]
    assert sorted(names) == sorted(["before", *sent])


async def test_a_child_in_its_parents_uvloop_is_told_that_it_cannot_send_there(redis_url: str, queue_name: str) -> None:
    # The child takes away what the parent's libuv watches, and that ends itself sometimes, whatever is sent.
    for attempt in range(5):
        queue = f"{queue_name}-{attempt}"
        try:
            said = await fork_a_loop(redis_url, queue, "uvloop", "exit")
            break
        except AbortedError:
            continue
    else:
        pytest.fail("libuv has ended itself each time")
    assert "begin one of its own, as asyncio.run() does\n" in said
    assert said.endswith("True\n")
    names = [message.kwargs["name"] for message in await waiting_messages(redis_url, queue)]
    assert sorted(names) == sorted(
        ["before", *(f"parent {number} {half}" for number in range(50) for half in range(2))]
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_child_of_a_coroutine_that_forks_is_told_that_it_cannot_send_there(
    redis_url: str, queue_name: str, loop: str
) -> None:
    command = [sys.executable, "-m", f"{APPS}.forking_coroutine", redis_url, queue_name, loop]
    done = await in_process_of_its_own(command)
    assert (done.returncode, done.stderr) == (0, "")
    why = "this process was forked, its event loop is its parent's: begin one of its own, as asyncio.run() does"
    assert done.stdout.splitlines() == [
        f"SendFailedError: {why}",
        f"BulkSendFailedError: call 1: {why} (0 calls were sent)",
    ]
    names = [message.kwargs["name"] for message in await waiting_messages(redis_url, queue_name)]
    assert names == ["before", "after"]


async def test_a_redis_that_is_away_until_the_deadline_fails_the_send_with_one_clear_line(brokers: Brokers) -> None:
    away = brokers(url="redis://:hunter2@127.0.0.1:1/0", options=StreamOptions(send_deadline=0.2))
    task = register_task(away, double, name="double")
    with pytest.raises(SendFailedError) as caught:
        await task.kicker().with_task_id("some-id").kiq()
    text = str(caught.value)
    assert text.startswith("task some-id was not sent to Redis at 127.0.0.1:1: Error ")
    assert text.endswith("(tried for 0.2 s)")
    assert "\n" not in text


async def test_a_key_that_is_no_text_fails_its_send_and_not_its_neighbours(broker: StreamBroker) -> None:
    # The only serializer of taskiq's that writes such a label at all.
    task = register_task(broker.with_serializer(JSONSerializer()), double, name="double")
    broken = task.kicker().with_labels(unique="\ud800")
    answers = await asyncio.gather(task.kiq(), broken.kiq(), task.kiq(), return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]


async def test_a_queue_that_redis_refuses_fails_the_send_to_it_and_not_its_neighbours(
    broker: StreamBroker, redis: Redis
) -> None:
    await redis.set(broker.keys.stream("low"), "something else")
    task = register_task(broker, double, name="double")
    low = task.kicker().with_labels(queue_name="low")
    answers = await asyncio.gather(task.kiq(), low.kiq(), task.kiq(), return_exceptions=True)
    assert [isinstance(answer, SendFailedError) for answer in answers] == [False, True, False]
    assert "WRONGTYPE" in str(answers[1])
    assert "may still arrive" not in str(answers[1])
    assert await redis.xlen(broker.keys.stream("default")) == 2


async def test_a_delayed_task_waits_until_its_queue_can_take_it_and_holds_up_no_other(
    broker: StreamBroker, redis: Redis
) -> None:
    low = broker.keys.stream("low")
    await redis.set(low, "something else")
    task = register_task(broker, double, name="double")
    await task.kicker().with_labels(queue_name="low", delay=0.01).kiq()
    other = await task.kicker().after(0.1).kiq(number=2)
    async with working(broker):
        assert (await other.wait_result(timeout=HANG)).return_value == 4
        await redis.delete(low)

        async def has_moved() -> bool:
            return await redis.xlen(low) == 1

        await eventually(has_moved)
    assert not await redis.exists(broker.keys.delayed, broker.keys.delayed_messages)


async def test_ids_and_keys_may_be_any_text(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    delayed = task.kicker().with_task_id("two\nlines").with_labels(unique="\none key\n", delay=0.1)
    async with working(broker):
        sent = await delayed.kiq(number=2)
        assert (await sent.wait_result(timeout=HANG)).return_value == 4
        # Its end has let the key go.
        other = await task.kicker().with_labels(unique="\none key\n").kiq(number=3)
        assert (await other.wait_result(timeout=HANG)).return_value == 6


async def test_an_id_that_is_too_long_fails_its_send_in_a_short_line(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    sends = (task.kicker().with_task_id("x" * 100_000).kiq(), task.kiq())
    refused, sent = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(refused, SendFailedError)
    assert str(refused) == f"task '{'x' * 50}': its id has 100000 bytes, 8192 at most"
    assert not isinstance(sent, BaseException)


async def test_an_id_that_is_where_the_progress_of_another_task_is_kept_is_refused(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    with pytest.raises(SendFailedError) as caught:
        await task.kicker().with_task_id("q__progress").kiq()
    why = "an id may not end with '__progress', which is where the progress of another task is kept"
    assert str(caught.value) == f"task 'q__progress': {why}"


async def test_an_empty_id_is_refused_to_whoever_sends_or_cancels(broker: StreamBroker) -> None:
    with pytest.raises(SendFailedError, match=r"^task '': its id is empty$"):
        await register_task(broker, double, name="double").kicker().with_task_id("").kiq()
    with pytest.raises(InvalidTaskIdError, match=r"^task '': its id is empty$"):
        await broker.cancel("")


async def test_an_id_that_is_no_utf_8_is_not_taken_for_an_argument(broker: StreamBroker) -> None:
    with pytest.raises(InvalidTaskIdError, match=r"its id is not UTF-8: surrogates not allowed$"):
        await register_task(broker, double, name="double").kicker().with_task_id("\ud800").kiq(number=1)


@pytest.mark.parametrize("labels", [{}, {"delay": 60}, {"unique": "key"}])
async def test_a_send_whose_answer_is_lost_is_made_again_and_sent_once(
    brokers: Brokers, wire: Wire, redis: Redis, labels: dict[str, str | int]
) -> None:
    broker = brokers(url=wire.url)
    task = register_task(broker, double, name="double")
    await task.kiq()
    wire.forget()
    wire.lose_answer_to("EVALSHA")
    kicker = task.kicker().with_task_id("some-id").with_labels(**labels)
    sent = await kicker.kiq()
    assert sent.task_id == "some-id"
    assert (wire.lost_answers, wire.count("EVALSHA")) == (1, 2)
    assert await redis.xlen(broker.keys.stream("default")) + await redis.zcard(broker.keys.delayed) == 2


async def test_a_send_waits_for_a_redis_that_comes_back(brokers: Brokers, wire: Wire, redis: Redis) -> None:
    broker = brokers(url=wire.url)
    task = register_task(broker, double, name="double")
    await task.kiq()
    wire.is_down = True
    wire.cut()
    sending = asyncio.create_task(task.kiq())
    await asyncio.wait({sending}, timeout=0.2)
    assert not sending.done()
    wire.is_down = False
    await sending
    assert await redis.xlen(broker.keys.stream("default")) == 2


async def test_what_a_sender_leaves_in_redis_expires(broker: StreamBroker, redis: Redis) -> None:
    await register_task(broker, double, name="double").kiq()
    (sender,) = [key for key in await keys_of(redis, broker.keys.name) if key.startswith("sender:")]
    assert 0 < await redis.ttl(f"{broker.keys.name}:{sender}") <= 3600


@pytest.mark.parametrize("delay", ["soon", float("inf"), float("nan")])
async def test_a_delay_that_is_no_number_fails_the_send_and_not_its_neighbours(
    broker: StreamBroker, delay: str | float
) -> None:
    task = register_task(broker, double, name="double")
    sends = (task.kicker().with_labels(delay=delay).kiq(), task.kiq())
    refused, sent = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(refused, SendFailedError)
    assert str(refused) == f"the label delay must be a number of seconds, not {str(delay)!r}"
    assert not isinstance(sent, BaseException)
