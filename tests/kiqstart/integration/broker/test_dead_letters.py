import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT
from taskiq import Context, TaskiqDepends
from taskiq.kicker import AsyncKicker
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.one_worker import make_broker, one_worker, redis_of

from kiqstart.broker import dead_letters
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.dead_letter import (
    DeadLetter,
    DeadLetterError,
    DeadLetterNotFoundError,
    Fields,
    UniqueKeyHeldError,
    UnreadableDeadLetterError,
)
from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import WORKER_PREFIX
from kiqstart.broker.options import StreamOptions
from kiqstart.redis.commands import ScriptClient, Value
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sizes import MIB
from kiqstart.testing import eventually


@pytest_asyncio.fixture
async def broker(redis_url: str, key_prefix: str) -> AsyncGenerator[StreamBroker]:
    made = make_broker(redis_url, key_prefix, StreamOptions(lease=1.0, misfit_grace=0.2))
    yield made
    await made.shutdown()


@pytest_asyncio.fixture
async def redis(broker: StreamBroker) -> Redis:
    return redis_of(broker)


UNHEARD_OF = b'{"task_id": "an-id", "task_name": "unheard-of", "labels": {}, "args": [], "kwargs": {}}'


class Machine:
    """A task that fails until it is mended, and what it saw."""

    def __init__(self) -> None:
        self.is_broken = True
        self.retries: list[int] = []

    async def run(self, number: int, context: Context = TaskiqDepends()) -> int:
        self.retries.append(int(context.message.labels.get("retries", 0)))
        if self.is_broken:
            raise ValueError(f"cannot work with {number}")
        return number * 2


async def echo(number: int) -> int:
    return number


def unchecked(broker: StreamBroker) -> AsyncKicker[..., object]:
    """Calls of `echo` by a sender that does not know its parameters."""
    return AsyncKicker("echo", broker, {})


async def letters(broker: StreamBroker, count: int) -> list[DeadLetter]:
    """All dead letters, oldest first, when there are so many."""

    async def are_there() -> bool:
        return await broker.dead_letters.count() >= count

    await eventually(are_there)
    return list(await broker.dead_letters.list())[::-1]


async def bury(
    broker: StreamBroker, task_name: str = "echo", reason: str = "worker-lost", data: bytes | None = None, **labels: str
) -> str:
    """Put a dead letter where Redis has them, and give its id."""
    message = {"task_id": uuid4().hex, "task_name": task_name, "labels": labels, "args": [1], "kwargs": {}}
    fields = {"data": data or json.dumps(message), "queue": broker.keys.name, "reason": reason, "deliveries": 3}
    letter = cast("bytes", await redis_of(broker).xadd(broker.keys.dead, cast("dict[FieldT, EncodableT]", fields)))
    return letter.decode()


async def waiting(broker: StreamBroker) -> list[Fields]:
    """What waits in the default queue."""
    entries = cast("list[tuple[bytes, Fields]]", await redis_of(broker).xrange(broker.keys.name))
    return [fields for _, fields in entries]


async def test_whatever_cannot_be_run_is_a_dead_letter_and_its_neighbours_run(
    broker: StreamBroker, redis: Redis
) -> None:
    task = register_task(broker, echo, name="echo")
    stream, before = broker.keys.name, datetime.now(UTC) - timedelta(seconds=1)
    await redis.xadd(stream, {"data": "{ no JSON \x1b[31m"})
    await redis.xadd(stream, {"data": b"\xff\xfe\x00"})
    await redis.xadd(stream, {"data": '{"task_id": 7}'})
    await redis.xadd(
        stream, {"odd": "fields", b"\xff\x00": b"\x80", "deliveries": "many", "first": "\N{SUPERSCRIPT TWO}"}
    )
    await redis.xadd(stream, {"data": UNHEARD_OF})
    invalid = await unchecked(broker).with_labels(replace=True).kiq("no number")
    neighbour = await task.kiq(3)
    async with one_worker(broker):
        assert (await neighbour.wait_result(timeout=HANG)).return_value == 3
        *malformed, one, other = await letters(broker, 6)
        bad_call, unknown = sorted((one, other), key=lambda letter: letter.reason)
        assert isinstance((await invalid.wait_result(timeout=HANG)).error, InvalidTaskArgumentsError)
    assert [one.reason for one in malformed] == [DeadLetterReason.MALFORMED] * 4
    assert [one.data for one in malformed[:3]] == [b"{ no JSON \x1b[31m", b"\xff\xfe\x00", b'{"task_id": 7}']
    assert b"b'odd': b'fields'" in malformed[3].data
    assert all(one.task_id is one.task_name is None and one.detail for one in malformed)
    assert (unknown.reason, unknown.task_name, unknown.task_id) == (
        DeadLetterReason.UNKNOWN_TASK,
        "unheard-of",
        "an-id",
    )
    assert "it has: echo" in unknown.detail
    assert (bad_call.reason, bad_call.task_id) == (DeadLetterReason.INVALID_ARGUMENTS, invalid.task_id)
    for letter in (*malformed, unknown, bad_call):
        assert letter.deliveries == 1
        assert letter.queue == stream
        assert before <= letter.first <= letter.last <= datetime.now(UTC) + timedelta(seconds=1)
        assert await broker.dead_letters.get(letter.id) == letter


async def test_a_mended_task_runs_again_under_its_id_and_its_caller_gets_the_new_result(broker: StreamBroker) -> None:
    machine = Machine()
    task = register_task(broker, machine.run, name="machine", max_retries=1, retry_delay=0)
    async with one_worker(broker):
        sent = await task.kiq(21)
        assert (await sent.wait_result(timeout=HANG)).is_err
        [letter] = await letters(broker, 1)
        assert (letter.reason, letter.task_id, letter.task_name) == ("retries-exhausted", sent.task_id, "machine")
        assert letter.detail.startswith("Traceback")
        assert letter.detail.endswith("ValueError: cannot work with 21\n")
        assert machine.retries == [0, 1]
        # Still broken: both of its tries are made anew.
        await broker.dead_letters.retry(letter.id)
        assert (await sent.wait_result(timeout=HANG)).is_err
        [again] = await letters(broker, 1)
        assert machine.retries == [0, 1, 0, 1]
        assert (again.task_id, again.deliveries) == (sent.task_id, 1)
        machine.is_broken = False
        assert await broker.dead_letters.retry(again.id) == again
        assert (await sent.wait_result(timeout=HANG)).return_value == 42
    assert await broker.dead_letters.count() == 0


async def test_a_message_that_was_given_back_dies_in_the_name_of_its_queue(broker: StreamBroker, redis: Redis) -> None:
    await redis.xadd(broker.keys.returned("default"), {"data": "no JSON"})
    async with one_worker(broker):
        [letter] = await letters(broker, 1)
    assert letter.queue == broker.keys.name


async def test_an_error_that_utf_8_cannot_hold_is_a_dead_letter_too(
    broker: StreamBroker, caplog: pytest.LogCaptureFixture
) -> None:
    # pytest's processes cannot hand such a text on in what was logged.
    caplog.set_level(logging.CRITICAL)

    async def fail() -> None:
        raise ValueError("no file \udcff.txt")

    task = register_task(broker, fail, name="fail", max_retries=1, retry_delay=0)
    async with one_worker(broker):
        sent = await task.kiq()
        assert (await sent.wait_result(timeout=HANG)).is_err
        [letter] = await letters(broker, 1)
    assert letter.detail.endswith("ValueError: no file \\udcff.txt\n")


async def test_labels_that_are_no_text_outlast_a_call_with_invalid_arguments(broker: StreamBroker) -> None:
    register_task(broker, echo, name="echo")
    async with one_worker(broker):
        await unchecked(broker).with_labels(seal=cast("str", b"\xff\x00"), is_urgent=True).kiq("no number")
        [letter] = await letters(broker, 1)
    message = broker.formatter.loads(letter.data)
    message.parse_labels()
    assert (message.labels["seal"], message.labels["is_urgent"]) == (b"\xff\x00", True)


async def test_a_dead_worker_with_an_odd_entry_in_hand_costs_nothing(broker: StreamBroker, redis: Redis) -> None:
    task, stream, group = register_task(broker, echo, name="echo"), broker.keys.name, broker.consumer_group_name
    await redis.xgroup_create(stream, group, "0", mkstream=True)
    await redis.xadd(stream, {"odd": b"\xff", "deliveries": "many"})
    sent = await task.kiq(3)
    await redis.xreadgroup(group, f"{WORKER_PREFIX}past", {stream: ">"})
    async with one_worker(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 3
        [letter] = await letters(broker, 1)
    assert b'"odd":"\xff"' in letter.data


async def test_a_retried_letter_takes_its_unique_key_again(broker: StreamBroker, redis: Redis) -> None:
    machine = Machine()
    task = register_task(broker, machine.run, name="machine", max_retries=1, retry_delay=0, unique="machine:{number}")
    async with one_worker(broker):
        dead = await task.kiq(1)
        [letter] = await letters(broker, 1)
    holder = await task.kiq(1)
    assert holder.task_id != dead.task_id
    with pytest.raises(
        UniqueKeyHeldError, match=f"task {holder.task_id} waits or runs with its unique key 'machine:1'"
    ):
        await broker.dead_letters.retry(letter.id)
    assert await broker.dead_letters.list() == [letter]
    assert await dead.is_ready(), "the old result must stay with the letter"
    machine.is_broken = False
    async with one_worker(broker):
        assert (await holder.wait_result(timeout=HANG)).return_value == 2
    await broker.dead_letters.retry(letter.id)
    assert (await task.kiq(1)).task_id == dead.task_id
    async with one_worker(broker):
        assert (await dead.wait_result(timeout=HANG)).return_value == 2
    assert not await redis.exists(broker.keys.uniques)


async def test_a_retried_letter_leaves_no_result_and_no_cancellation_of_its_first_life(
    broker: StreamBroker, redis: Redis
) -> None:
    task = register_task(broker, Machine().run, name="machine", max_retries=1, retry_delay=0)
    async with one_worker(broker):
        sent = await task.kiq(1)
        [letter] = await letters(broker, 1)
    await broker.cancel(sent.task_id)
    assert await sent.is_ready()
    await broker.dead_letters.retry(letter.id)
    assert not await sent.is_ready()
    assert not await redis.exists(broker.keys.cancelled)


async def test_the_tries_of_a_retried_letter_count_anew_whatever_it_died_of(broker: StreamBroker) -> None:
    letter = await bury(broker, retries="2", unacknowledged="1", other="kept")
    await broker.dead_letters.retry(letter)
    [fields] = await waiting(broker)
    message = broker.formatter.loads(fields.pop(b"data"))
    message.parse_labels()
    assert message.labels == {"retries": 0, "unacknowledged": 0, "other": "kept"}
    assert not fields


async def test_a_letter_without_a_message_can_be_shown_and_purged_but_not_retried(broker: StreamBroker) -> None:
    letter = await bury(broker, reason="malformed", data=b"\xff")
    with pytest.raises(UnreadableDeadLetterError, match="holds no readable message"):
        await broker.dead_letters.retry(letter)
    assert (await broker.dead_letters.get(letter)).data == b"\xff"
    await broker.dead_letters.purge(letter)
    assert await broker.dead_letters.count() == 0


async def test_a_malformed_letter_whose_message_is_readable_is_sent_again(broker: StreamBroker) -> None:
    await broker.dead_letters.retry(await bury(broker, reason="malformed"))
    assert len(await waiting(broker)) == 1


async def test_a_queue_that_is_something_else_by_now_leaves_the_letter(broker: StreamBroker, redis: Redis) -> None:
    letter = await bury(broker, unique="a key")
    await redis.set(broker.keys.name, "something else")
    with pytest.raises(DeadLetterError, match="WRONGTYPE"):
        await broker.dead_letters.retry(letter)
    assert await broker.dead_letters.count() == 1
    assert not await redis.exists(broker.keys.uniques)


@pytest.mark.parametrize("letter", ["0-1", "1-1", "nothing", "", "-", "+", "5", "٣-٤", "9" * 30 + "-0"])
async def test_an_unknown_letter_is_one_line(broker: StreamBroker, letter: str) -> None:
    await bury(broker)
    dead = broker.dead_letters
    for act in (dead.get, dead.retry, dead.purge):
        with pytest.raises(DeadLetterNotFoundError) as caught:
            await act(letter)
        assert f"there is no dead letter {letter!r}" in str(caught.value)
    assert await dead.count() == 1


async def test_a_letter_is_retried_once_however_many_ask_at_once(broker: StreamBroker) -> None:
    letter = await bury(broker)
    answers = await asyncio.gather(*[broker.dead_letters.retry(letter) for _ in range(10)], return_exceptions=True)
    assert [type(one) for one in answers if isinstance(one, Exception)] == [DeadLetterNotFoundError] * 9
    assert len(await waiting(broker)) == 1


async def test_letters_are_listed_newest_first_from_among_many(broker: StreamBroker) -> None:
    made = [await bury(broker, task_name=f"task-{number % 2}", reason=f"r{number % 3}") for number in range(230)]
    dead = broker.dead_letters
    assert [one.id for one in await dead.list(1000)] == made[::-1]
    assert [one.id for one in await dead.list(150)] == made[::-1][:150]
    assert [one.id for one in await dead.list(1000, task_name="task-1")] == made[1::2][::-1]
    assert [one.id for one in await dead.list(3, task_name="task-0", reason="r0")] == made[0::6][::-1][:3]
    assert await dead.list(0) == []


async def test_large_letters_are_read_a_few_at_a_time(broker: StreamBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[int] = []

    async def read(redis: ScriptClient, keys: Sequence[str], arguments: Sequence[Value]) -> object:
        page = await script(redis, keys, arguments)
        pages.append(len(page))
        return page

    script = dead_letters._LETTERS
    monkeypatch.setattr(dead_letters, "_LETTERS", read)
    for _ in range(5):
        await redis_of(broker).xadd(broker.keys.dead, {"data": "x" * 5 * MIB})
    assert [len(one.data) for one in await broker.dead_letters.list(5)] == [5 * MIB] * 5
    assert pages == [2, 2, 1, 0]


async def buried_seconds_ago(redis: Redis, keys: QueueKeys, ages: Sequence[int]) -> None:
    seconds, _ = await redis.time()
    for age in ages:
        await redis.xadd(keys.dead, {"data": "old"}, id=f"{(int(seconds) - age) * 1000}-0")


@pytest.mark.parametrize(
    "options", [StreamOptions(lease=1.0, dead_letter_limit=2), StreamOptions(lease=1.0, dead_letter_age=60)]
)
async def test_letters_beyond_the_bounds_are_dropped_oldest_first_logged_and_counted(
    redis_url: str, key_prefix: str, options: StreamOptions, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker(redis_url, key_prefix, options)
    redis, dead = redis_of(broker), broker.dead_letters
    await buried_seconds_ago(redis, broker.keys, [90, 80])
    for _ in range(2):
        await redis.xadd(broker.keys.name, {"data": "new"})

    async def are_dropped() -> bool:
        is_told = "2 dead letters were dropped: too old, too many or too large" in caplog.text
        return is_told and [letter.data for letter in await dead.list()] == [b"new", b"new"]

    async with one_worker(broker):
        await eventually(are_dropped)
    assert await dead.dropped() == 2
    await broker.shutdown()


async def test_letters_are_purged_by_their_age(broker: StreamBroker, redis: Redis) -> None:
    dead = broker.dead_letters
    await buried_seconds_ago(redis, broker.keys, [100, 50, 20])
    assert await dead.purge_older_than(40) == 2
    assert await dead.purge_older_than(40) == 0
    assert await dead.count() == 1
    assert await dead.purge_all() == 1
    assert (await dead.count(), await dead.dropped()) == (0, 0)
