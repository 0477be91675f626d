"""The one place that builds the broker under test."""

from collections.abc import Mapping
from typing import Final

from taskiq import TaskiqMessage, TaskiqResult
from taskiq.middlewares import SmartRetryMiddleware
from taskiq.serializers import ORJSONSerializer
from tests.faults.settings import WorkerSettings
from tests.faults.tasks import FLAKY

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.retries import RetryMiddleware

LOW: Final = "low"
"""The queue beside the default one."""
WEIGHTS: Final[Mapping[str, int]] = {"default": 3, LOW: 1}


class _Retries(RetryMiddleware):
    """Leaves those tasks alone that taskiq's own middleware sends again."""

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:
        if message.task_name != FLAKY:
            await super().on_error(message, result, exception)


def options_of(settings: WorkerSettings) -> StreamOptions:
    """How workers with these settings deliver."""
    return StreamOptions(
        lease=settings.lease, max_deliveries=settings.max_deliveries, misfit_grace=settings.misfit_grace
    )


def build_broker(settings: WorkerSettings) -> StreamBroker:
    """Give a broker on that Redis and queue, not yet started and without tasks."""
    broker = StreamBroker(
        settings.redis_url,
        queue_name=settings.queue,
        queues=WEIGHTS,
        options=options_of(settings),
        result_ttl=settings.result_ttl,
    )
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(_Retries(broker), SmartRetryMiddleware())
