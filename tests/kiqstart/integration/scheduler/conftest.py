from collections.abc import AsyncGenerator

import pytest_asyncio
from redis.asyncio import Redis
from taskiq import AsyncBroker, InMemoryBroker
from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.broker.keys import QueueKeys


@pytest_asyncio.fixture
async def maker() -> AsyncBroker:
    """Makes messages, and sends none."""
    return InMemoryBroker()


@pytest_asyncio.fixture
async def timeline(redis_url: str, key_prefix: str, maker: AsyncBroker) -> AsyncGenerator[Timeline]:
    async with Redis.from_url(redis_url) as redis:
        yield Timeline(redis, maker, QueueKeys(f"{{{key_prefix}}}:tasks"))
