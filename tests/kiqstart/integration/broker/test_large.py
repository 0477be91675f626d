"""What is large goes its own way, on a link that is slow."""

import asyncio
from typing import Final

from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.tasks.registration import register_task

# Takes the link minutes, until it is mended.
LARGE: Final = 4_000_000
SLOW: Final = 30_000


async def write(size: int) -> str:
    return "x" * size


async def read(text: str) -> int:
    return len(text)


async def test_small_results_are_settled_while_a_large_one_is_on_its_way(brokers: Brokers, wire: Wire) -> None:
    worker, caller = brokers(url=wire.url), brokers()
    register_task(worker, write, name="write")
    task = register_task(caller, write, name="write")
    async with working(worker):
        wire.bytes_per_second = SLOW
        large = await task.kiq(size=LARGE)
        # Time for the task to end.
        await asyncio.sleep(0.3)
        small = [await task.kiq(size=1) for _ in range(20)]
        assert [(await one.wait_result(timeout=HANG)).return_value for one in small] == ["x"] * 20
        assert not await large.is_ready()
        wire.bytes_per_second = None
        assert len((await large.wait_result(timeout=HANG)).return_value) == LARGE


async def test_small_messages_are_sent_while_a_large_one_is_on_its_way_and_all_arrive_once(
    brokers: Brokers, wire: Wire
) -> None:
    caller, worker = brokers(url=wire.url), brokers()
    task = register_task(caller, read, name="read")
    register_task(worker, read, name="read")
    await task.kiq(text="")
    wire.bytes_per_second = SLOW
    large = asyncio.create_task(task.kiq(text="x" * LARGE))
    await asyncio.sleep(0.1)
    small = [await task.kiq(text="x" * number) for number in range(20)]
    assert not large.done()
    wire.bytes_per_second = None
    sent = [await large, *small]
    async with working(worker):
        results = [(await one.wait_result(timeout=HANG)).return_value for one in sent]
    assert results == [LARGE, *range(20)]


async def test_a_large_result_is_fetched_while_small_ones_are_waited_for(brokers: Brokers, wire: Wire) -> None:
    caller, worker = brokers(url=wire.url), brokers()
    task = register_task(caller, write, name="write")
    register_task(worker, write, name="write")
    large, first = await task.kiq(size=LARGE), await task.kiq(size=1)
    fetching = asyncio.create_task(large.wait_result(timeout=HANG))
    hearing = asyncio.create_task(first.wait_result(timeout=HANG))
    await asyncio.sleep(0.1)
    wire.bytes_per_second = SLOW
    async with working(worker):
        await hearing
        await asyncio.sleep(0.2)
        assert (await (await task.kiq(size=1)).wait_result(timeout=HANG)).return_value == "x"
        assert not fetching.done()
        wire.bytes_per_second = None
        assert len((await fetching).return_value) == LARGE
