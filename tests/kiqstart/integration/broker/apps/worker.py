"""A worker: `taskiq worker tests.….apps.worker:broker`."""

import os

from tests.kiqstart.integration.broker.apps.tasks import Tasks

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.retries import RetryMiddleware

broker = StreamBroker(
    os.environ["REDIS_URL"],
    queue_name=os.environ["QUEUE_NAME"],
    options=StreamOptions(
        lease=1.0,
        max_deliveries=1,
        send_deadline=float(os.environ.get("SEND_DEADLINE", "30")),
        overrun_grace=0.2,
        replace_overrun=True,
    ),
)
broker.add_middlewares(RetryMiddleware(broker))
tasks = Tasks(broker)
