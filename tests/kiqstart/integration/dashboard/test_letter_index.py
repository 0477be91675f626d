"""The page of dead letters shows what Redis has, though it reads only what has changed."""

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.operations.dead_letters import find_letter, read_letters
from kiqstart.operations.dead_selection import Filters
from kiqstart.operations.letter_index import LetterIndex

_CHOICES = (
    Filters(),
    Filters(task="mail"),
    Filters(reason="malformed"),
    Filters(older_than="0s"),
    Filters(older_than="1h"),
    Filters(task="none"),
)


async def bury(redis: Redis, broker: StreamBroker, number: int, *, letter: str = "*") -> None:
    task, reason = ("mail", "malformed") if number % 3 == 0 else ("work", "retries-exhausted")
    message = f'{{"task_id": "id-{number}", "task_name": "{task}", "labels": {{}}, "args": [], "kwargs": {{}}}}'
    detail = f'Traceback\n  File "x"\nLookupError: no {number}\nmore'
    fields = {"queue": broker.keys.name, "reason": reason, "detail": detail, "data": message}
    await redis.xadd(broker.keys.dead, fields, id=letter)  # type: ignore[arg-type]  # redis-py's is invariant


@pytest.fixture
def index(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> LetterIndex:
    monkeypatch.setattr("kiqstart.broker.dead_letters._READ_AFTER", 7)
    return LetterIndex(brokers())


async def is_right(broker: StreamBroker, index: LetterIndex) -> None:
    dead = broker.dead_letters
    for filters in _CHOICES:
        found = await read_letters(dead, filters, limit=5, index=index)
        assert found == await read_letters(dead, filters, limit=5), filters
        assert await filters.ids(index) == await filters.ids(dead)


async def test_letters_that_come_and_go_are_seen(brokers: Brokers, redis: Redis, index: LetterIndex) -> None:
    broker = brokers()
    await is_right(broker, index)
    for number in range(30):
        await bury(redis, broker, number)
    await is_right(broker, index)
    for number in range(30, 35):
        await bury(redis, broker, number)
    await is_right(broker, index)
    ids = await Filters().ids(broker.dead_letters)
    # The newest, some in the middle, and the oldest ones.
    await redis.xdel(broker.keys.dead, ids[-1], *ids[10:14])
    await is_right(broker, index)
    await redis.xtrim(broker.keys.dead, minid=ids[5], approximate=False)
    await is_right(broker, index)
    await bury(redis, broker, 40)
    await redis.xdel(broker.keys.dead, ids[20])
    await is_right(broker, index)
    await redis.delete(broker.keys.dead)
    await is_right(broker, index)


async def test_a_stream_that_was_begun_anew_is_read_anew(brokers: Brokers, redis: Redis, index: LetterIndex) -> None:
    broker = brokers()
    for number in range(3):
        await bury(redis, broker, number, letter=f"{2000 + number}-0")
    await is_right(broker, index)
    await redis.delete(broker.keys.dead)
    # By a clock that went back.
    for number in range(3, 6):
        await bury(redis, broker, number, letter=f"{1000 + number}-0")
    await is_right(broker, index)


async def test_more_than_it_may_hold_are_gone_through_in_redis(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    small = LetterIndex(broker, most=3)
    for number in range(5):
        await bury(redis, broker, number)
    await is_right(broker, small)


async def test_a_letter_is_found_by_its_task_and_shown_whole(
    brokers: Brokers, redis: Redis, index: LetterIndex
) -> None:
    broker = brokers()
    for number in range(20):
        await bury(redis, broker, number)
    found = await find_letter(broker.dead_letters, "id-4", index=index)
    assert found == await find_letter(broker.dead_letters, "id-4")
    assert found.data
    assert found.detail.endswith("more")
