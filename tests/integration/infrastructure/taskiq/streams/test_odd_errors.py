"""Whatever class of error a task lets out: it is that task's error, and its worker goes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq.exceptions import TaskRejectedError
from tests.integration.infrastructure.taskiq.streams.brokers import working

from kiqstart.infrastructure.taskiq.registration import register_task
from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker
from kiqstart.testing import eventually

ODD_ERRORS = [
    StopIteration(1),
    StopAsyncIteration(1),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    BaseException("bare"),
    BaseExceptionGroup("several", [SystemExit(1), StopIteration()]),
    TaskRejectedError(),
]


class Raising:
    """Raises an error, in a coroutine or in a thread, at once or after having waited."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def at_once(self) -> None:
        raise self._error

    async def later(self) -> None:
        await asyncio.sleep(0)
        raise self._error

    async def after_cancelling_itself(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise self._error

    def in_thread(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["at_once", "later", "after_cancelling_itself", "in_thread"])
@pytest.mark.parametrize("labels", [{}, {"timeout": 5.0}], ids=["unlimited", "limited"])
async def test_its_worker_goes_on(
    broker: StreamBroker, redis: Redis, kind: str, error: BaseException, labels: dict[str, float]
) -> None:
    function: Callable[[], Any] = getattr(Raising(error), kind)

    async def run() -> Any:  # noqa: ANN401  # nothing, in the end
        return await function()

    target = (lambda: function()) if kind == "in_thread" else run  # noqa: PLW0108  # a method cannot be renamed
    task = broker.register_task(target, task_name="odd", **labels)

    async def echo(number: int) -> int:
        return number

    async with working(broker):
        sent = await task.kiq()
        result = await sent.wait_result(timeout=5)
        assert result.is_err
        # As Python itself has it where a coroutine raises StopIteration.
        is_replaced = isinstance(error, StopIteration) or (isinstance(error, GeneratorExit) and kind == "in_thread")
        assert (RuntimeError if is_replaced else type(error)).__name__ in repr(result.error)

        async def is_over() -> bool:
            return await redis.xlen(broker.keys.stream("default")) == 0

        await eventually(is_over, within=5)
        assert (await (await register_task(broker, echo, name="echo").kiq(1)).wait_result(timeout=5)).return_value == 1
    assert await redis.zcard(broker.keys.delayed) == 0


async def test_a_task_that_cancels_itself_too_late_keeps_its_result(broker: StreamBroker, redis: Redis) -> None:
    async def run() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        assert (await sent.wait_result(timeout=5)).return_value == "done"
    assert await redis.xlen(broker.keys.stream("default")) == 0
