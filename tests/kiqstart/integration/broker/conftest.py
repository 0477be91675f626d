from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.broker.wire import Wire, wire_to

from kiqstart.broker.broker import StreamBroker


@pytest.fixture
def queue_name(key_prefix: str) -> str:
    return f"{{{key_prefix}}}:tasks"


@pytest_asyncio.fixture
async def brokers(redis_url: str, queue_name: str) -> AsyncGenerator[Brokers]:
    made = Brokers(redis_url, queue_name)
    yield made
    await made.close()


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
