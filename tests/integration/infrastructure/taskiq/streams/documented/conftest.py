"""What taskiq documents, asked of its own in-memory broker too, so that no test expects more or less than that."""

import pytest
from taskiq import AsyncBroker, InMemoryBroker
from tests.integration.infrastructure.taskiq.streams.brokers import Brokers

from kiqstart.infrastructure.taskiq.in_memory import DelayingInMemoryBroker


@pytest.fixture(params=["stream", "delaying", "taskiq"])
def any_broker(request: pytest.FixtureRequest, brokers: Brokers) -> AsyncBroker:
    if request.param == "stream":
        return brokers()
    return DelayingInMemoryBroker() if request.param == "delaying" else InMemoryBroker()
