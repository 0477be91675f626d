"""What taskiq documents, asked of its own in-memory broker too, so that no test expects more or less than that."""

import pytest
from taskiq import AsyncBroker, InMemoryBroker
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.receiver.stream_receiver import StreamReceiver


@pytest.fixture(params=["stream", "delaying", "taskiq"])
def any_broker(request: pytest.FixtureRequest, brokers: Brokers) -> AsyncBroker:
    if request.param == "stream":
        return brokers()
    if request.param == "taskiq":
        return InMemoryBroker()
    broker = DelayingInMemoryBroker()
    # kiqstart's receiver takes any broker's messages.
    broker.receiver = StreamReceiver(broker, executor=broker.executor, max_async_tasks=30)
    return broker
