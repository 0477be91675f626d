from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.dashboard.browser import Browser, browsing

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task


@pytest.fixture
def broker(brokers: Brokers) -> StreamBroker:
    made = brokers()

    async def work(number: int) -> int:
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return number

    register_task(made, work, name="work")
    return made


@pytest_asyncio.fixture
async def browser(broker: StreamBroker) -> AsyncGenerator[Browser]:
    async with browsing(broker) as opened:
        yield opened
