"""What a caller gets of a task: its value, its error, or that there is neither yet."""

import asyncio
from typing import cast

import pytest
from taskiq import InMemoryBroker
from taskiq.exceptions import TaskiqResultTimeoutError
from tests.deadlines import HANG

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sent_task import ResultTimeoutError


@pytest.fixture
def broker() -> InMemoryBroker:
    return DelayingInMemoryBroker(await_inplace=True)


async def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


async def test_a_result_is_the_value_or_the_error(broker: InMemoryBroker) -> None:
    task = register_task(broker, halve, name="halve")
    assert await (await task.kiq(4)).result(timeout=HANG) == 2
    with pytest.raises(ValueError, match="5 is odd"):
        await (await task.kiq(5)).result(timeout=HANG)


async def test_an_earlier_send_is_found_by_its_id(broker: InMemoryBroker) -> None:
    task = register_task(broker, halve, name="halve")
    sent = await task.kiq(4)
    assert await task.task(sent.task_id).result() == 2


@pytest.mark.parametrize("seconds", [0, -1.0])
async def test_a_timeout_is_above_0(broker: InMemoryBroker, seconds: float) -> None:
    task = register_task(broker, halve, name="halve")
    with pytest.raises(ValueError, match="it is a number of seconds above 0, or None"):
        await task.task("one").result(timeout=seconds)


async def test_a_timeout_is_a_number(broker: InMemoryBroker) -> None:
    task = register_task(broker, halve, name="halve")
    with pytest.raises(TypeError, match=r"^result\(timeout=…\) takes a number of seconds, None for ever, not '5'$"):
        await task.task("one").result(timeout=cast("float", "5"))


async def test_a_timeout_names_the_task(broker: InMemoryBroker) -> None:
    task = register_task(broker, halve, name="halve")
    with pytest.raises(TaskiqResultTimeoutError, match=r"^halve one had no result within 0\.01 s$") as caught:
        await task.task("one").result(timeout=0.01)
    assert isinstance(caught.value, ResultTimeoutError)


class SilentBroker(DelayingInMemoryBroker):
    """Its server is frozen."""

    async def is_served(self, queue: str) -> bool:
        await asyncio.sleep(HANG)
        return bool(queue)


async def test_a_timeout_waits_for_no_server_that_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.tasks.sent_task._SECONDS_TO_EXPLAIN", 0.01)
    task = register_task(SilentBroker(), halve, name="halve")
    with pytest.raises(ResultTimeoutError, match=r"its queue is not known: there is no answer$"):
        async with asyncio.timeout(HANG / 2):
            await task.task("one").result(timeout=0.01)
