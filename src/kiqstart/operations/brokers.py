"""The broker whose queues are in Redis."""

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError


class NoQueueError(OperatorError):
    """There is no queue that could be looked at."""


def broker_of(app: App) -> StreamBroker:
    """The application's broker, whose queues are in Redis.

    Raises:
        NoQueueError: it has none.
    """
    if isinstance(app.broker, StreamBroker):
        return app.broker
    raise NoQueueError(
        f"a {type(app.broker).__name__} (as REDIS_URL=memory:// gives one) keeps no tasks, schedules or dead letters: "
        "tasks run in the program that sends them"
    )
