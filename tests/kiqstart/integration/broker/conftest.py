from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.broker.wire import Wire, wire_to

from kiqstart.broker.broker import StreamBroker


@pytest.fixture
def broker(brokers: Brokers) -> StreamBroker:
    return brokers()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest_asyncio.fixture
async def wire(redis_url: str) -> AsyncGenerator[Wire]:
    async with wire_to(redis_url) as made:
        yield made
