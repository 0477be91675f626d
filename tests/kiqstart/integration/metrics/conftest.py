from collections.abc import AsyncGenerator

import pytest_asyncio
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers


@pytest_asyncio.fixture
async def brokers(redis_url: str, key_prefix: str) -> AsyncGenerator[Brokers]:
    made = Brokers(redis_url, f"{{{key_prefix}}}:tasks")
    yield made
    await made.close()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client
