from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.dashboard.browser import Browser, browsing

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task


@pytest.fixture
def brokers(redis_url: str, key_prefix: str) -> Brokers:
    return Brokers(redis_url, f"{{{key_prefix}}}:tasks")


@pytest_asyncio.fixture
async def broker(brokers: Brokers) -> AsyncGenerator[StreamBroker]:
    made = brokers()

    async def work(number: int) -> int:
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return number

    register_task(made, work, name="work")
    yield made
    await brokers.close()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest_asyncio.fixture
async def browser(broker: StreamBroker) -> AsyncGenerator[Browser]:
    async with browsing(broker) as opened:
        yield opened
