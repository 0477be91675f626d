"""A process that looks at runs often finds in its memory what it would find in Redis, and nothing else."""

import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.broker import Sealing
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.operations.run_resending import FailedRuns
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

_BEGAN: Final = 1_700_000_000_000
_FILTERS: Final = (
    RunFilter(task_id="id-3"),
    RunFilter(task="mail.send1"),
    RunFilter(queue="low"),
    RunFilter(queue="none"),
    RunFilter(outcome=Outcome.FAILED),
    RunFilter(outcome=Outcome.CANCELLED),
    RunFilter(text="CUSTOMER-1"),
    RunFilter(text="no mail for customer"),
    RunFilter(text="nowhere"),
    RunFilter(text='"customer-2", 2'),
    RunFilter(task="mail.send0", text="customer", queue="default"),
    RunFilter(arguments={"to": "customer-1"}, parameters=lambda _: ["to", "number"]),
    RunFilter(arguments={"to": "customer-1", "number": 2}, parameters=lambda _: ["to", "number"]),
    RunFilter(arguments={"to": "customer-1"}),
    RunFilter(task="mail.send0", since=datetime.fromtimestamp(_BEGAN / 1000 + 0.2, UTC)),
)


async def add(broker: StreamBroker, numbers: Sequence[int]) -> None:
    """Blocks of two runs each, as a worker writes them."""
    for number in numbers:
        has_failed = number % 3 == 0
        message = (
            f'{{"task_id":"id-{number % 40}","task_name":"mail.send{number % 2}","labels":{{}},'
            f'"args":["customer-{number % 4}",{number % 3}],"kwargs":{{}}}}'
        )
        problem = f"LookupError: no mail for customer-{number % 4}" if has_failed else ""
        letter = "f" if has_failed else "c" if number % 10 == 1 else "s"
        queue = "low" if number % 5 == 0 else "default"
        facts = f"{_BEGAN}-0 {_BEGAN} 400 1 0 {len(message)} 0 {len(problem)}\n{message}{problem}"
        block = f"1{letter} {queue} kiq-9c host:4711\n{facts}{facts}"
        stream = broker.keys.failed_runs if has_failed else broker.keys.runs
        await broker.connection.client.xadd(stream, {"runs": block}, id=f"{2 * number + 2}-{_BEGAN + number}")


async def ids(broker: StreamBroker, which: RunFilter, index: RunIndex | None, limit: int = 1000) -> list[str]:
    redis = broker.connection.redis
    return [run.id for run in await read_runs(redis, broker.keys, which, limit=limit, index=index)]


async def is_right(broker: StreamBroker, index: RunIndex) -> None:
    for which in _FILTERS:
        found = await ids(broker, which, index)
        assert found == await ids(broker, which, None), which
        assert await ids(broker, which, index, limit=3) == found[:3]


@pytest.fixture
def index(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> RunIndex:
    # Many pages and segments of few runs.
    monkeypatch.setattr("kiqstart.broker.run_pages._FIRST_READ", 2)
    monkeypatch.setattr("kiqstart.broker.run_pages.MOST_AT_ONCE", 7)
    monkeypatch.setattr("kiqstart.broker.run_text._SEGMENT_BYTES", 2000)
    return RunIndex(brokers().keys)


async def filled(index: RunIndex, broker: StreamBroker) -> None:
    await index.refresh(broker.connection.redis)

    async def is_filled() -> bool:
        return index.is_filled

    await eventually(is_filled)


async def test_it_finds_what_redis_has(brokers: Brokers, index: RunIndex) -> None:
    broker = brokers()
    await is_right(broker, index)
    await add(broker, range(100))
    # While it is filled, too.
    await is_right(broker, index)
    await filled(index, broker)
    await is_right(broker, index)
    await add(broker, range(100, 130))
    await is_right(broker, index)
    assert len(await ids(broker, RunFilter(text="customer"), index)) == 260
    which = RunFilter(arguments={"to": "customer-1", "number": 2}, parameters=lambda _: ["to", "number"])
    assert {int(one.partition("-")[0]) // 2 - 1 for one in await ids(broker, which, index)} == {
        number for number in range(130) if (number % 4, number % 3) == (1, 2)
    }


async def test_what_was_trimmed_or_emptied_is_not_found_any_more(
    brokers: Brokers, redis: Redis, index: RunIndex
) -> None:
    broker = brokers()
    await add(broker, range(60))
    await filled(index, broker)
    for stream in (broker.keys.runs, broker.keys.failed_runs):
        await redis.xtrim(stream, minid="80", approximate=False)
    await is_right(broker, index)
    await add(broker, range(60, 70))
    await is_right(broker, index)
    await redis.delete(broker.keys.runs, broker.keys.failed_runs)
    await is_right(broker, index)
    # Another Redis, or an emptied one, counts from the beginning.
    await add(broker, range(5))
    await is_right(broker, index)
    assert len(await ids(broker, RunFilter(text="customer"), index)) == 10


async def test_of_more_than_it_may_hold_the_rest_is_looked_for_in_redis(brokers: Brokers) -> None:
    broker = brokers()
    small = RunIndex(broker.keys, most_bytes=5000)
    await add(broker, range(100))
    for _ in range(3):
        await filled(small, broker)
    await add(broker, range(100, 120))
    await is_right(broker, small)


async def test_after_a_long_absence_it_is_begun_anew(
    brokers: Brokers, index: RunIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.broker.run_index._MOST_PAGES_BEHIND", 1)
    monkeypatch.setattr("kiqstart.broker.run_index.MOST_AT_ONCE", 3)
    broker = brokers()
    await add(broker, range(20))
    await filled(index, broker)
    await add(broker, range(20, 80))
    await is_right(broker, index)
    await filled(index, broker)
    await is_right(broker, index)


async def test_an_index_that_is_full_searches_nothing_in_redis(
    brokers: Brokers, index: RunIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = brokers()
    await add(broker, range(100))
    await filled(index, broker)
    monkeypatch.delattr("kiqstart.broker.run_index.read_pages_with")
    assert await ids(broker, RunFilter(text="nowhere"), index) == []
    assert len(await ids(broker, RunFilter(task_id="id-3"), index)) == 6


async def test_failed_runs_of_which_none_ran_well_since_are_found_alike(brokers: Brokers, index: RunIndex) -> None:
    broker = brokers()
    await add(broker, range(100))
    await filled(index, broker)
    for failed in (FailedRuns(), FailedRuns(task="mail.send0"), FailedRuns(text="customer-3")):
        found = await failed.runs(broker, index=index)
        assert found == await failed.runs(broker)
        # The numbers below 40 are ids: of 0, 40 and 80, which are one task's, the last ran well.
        assert found
        assert "id-0" not in {run.task_id for run in found}


@pytest.mark.parametrize("is_readable", [True, False])
async def test_what_is_encrypted_is_found_by_who_can_read_it(brokers: Brokers, *, is_readable: bool) -> None:
    keys = [f"a:{base64.b64encode(os.urandom(32)).decode()}" for _ in range(2)]
    worker = brokers(sealing=Sealing(signing_keys=keys[0], encryption_keys=keys[1]))
    reader = worker if is_readable else brokers(sealing=Sealing(signing_keys=keys[0]))

    async def send(number: int, customer: str) -> str:
        if customer == "Bob Stone":
            raise LookupError(f"no mail for {customer} of {number}")
        return f"sent to {customer}"

    task = register_task(worker, send, name="send")
    async with working(worker):
        for customer in ("Ada Wood", "Bob Stone", "Cyd Hill"):
            await (await task.kiq(4711, customer)).wait_result(timeout=10)
    index = RunIndex(reader.keys, reader.secrets)
    await filled(index, reader)
    for text, count in (("ada wood", 1), ("mail for bob", 1), ("SENT TO", 2), ("nobody", 0), ("send", 3)):
        which = RunFilter(text=text)
        found = await read_runs(reader.connection.redis, reader.keys, which, secrets=reader.secrets, index=index)
        assert found == await read_runs(reader.connection.redis, reader.keys, which, secrets=reader.secrets)
        assert len(found) == (count if is_readable or text == "send" else 0), text
    for arguments, count in ({"customer": "Ada Wood"}, 1), ({"number": 4711}, 3):
        which = RunFilter(arguments=arguments, parameters=lambda _: ["number", "customer"])
        for runs in (index, None):
            found = await read_runs(reader.connection.redis, reader.keys, which, secrets=reader.secrets, index=runs)
            assert len(found) == (count if is_readable else 0)
