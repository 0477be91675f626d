"""Running the tasks of any broker in the test's own event loop."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from taskiq import AsyncBroker, InMemoryBroker, TaskiqResult
from taskiq.decor import AsyncTaskiqDecoratedTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import working

from kiqstart.broker.broker import StreamBroker


@asynccontextmanager
async def serving(broker: AsyncBroker) -> AsyncGenerator[None]:
    """Run the broker's tasks until the end of the block, which waits for those that run."""
    if isinstance(broker, StreamBroker):
        async with working(broker):
            yield
        return
    assert isinstance(broker, InMemoryBroker)
    await broker.startup()
    try:
        yield
    finally:
        await broker.wait_all()
        await broker.shutdown()


async def outcome(task: AsyncTaskiqDecoratedTask[..., Any], *args: object, **kwargs: object) -> TaskiqResult[Any]:
    """Send a task and wait for its result; it is served while it runs."""
    async with serving(task.broker):
        sent = await task.kiq(*args, **kwargs)
        return await sent.wait_result(check_interval=0.01, timeout=HANG)
