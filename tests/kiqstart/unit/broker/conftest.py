from collections.abc import AsyncGenerator

import pytest_asyncio

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.retries import RetryMiddleware


@pytest_asyncio.fixture
async def broker() -> AsyncGenerator[DelayingInMemoryBroker]:
    broker = DelayingInMemoryBroker()
    broker.add_middlewares(RetryMiddleware(broker))
    yield broker
    await broker.shutdown()
