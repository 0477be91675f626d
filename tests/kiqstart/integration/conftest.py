from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers


@pytest.fixture
def queue_name(key_prefix: str) -> str:
    return f"{{{key_prefix}}}:tasks"


@pytest_asyncio.fixture
async def brokers(redis_url: str, queue_name: str) -> AsyncGenerator[Brokers]:
    made = Brokers(redis_url, queue_name)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client
