"""The one place that builds the broker under test."""

from typing import Final

from taskiq.middlewares import SmartRetryMiddleware
from taskiq.serializers import ORJSONSerializer
from tests.faults.settings import WorkerSettings

from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions

RESULT_SECONDS: Final = 30.0
"""For so long results are kept: longer than any scenario looks for them, short enough to see that they go."""


def build_broker(settings: WorkerSettings) -> StreamBroker:
    """Give a broker on that Redis and queue, not yet started and without tasks."""
    broker = StreamBroker(
        settings.redis_url,
        queue_name=settings.queue,
        options=StreamOptions(lease=settings.lease, max_deliveries=settings.max_deliveries),
        result_ttl=RESULT_SECONDS,
    )
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(SmartRetryMiddleware())
