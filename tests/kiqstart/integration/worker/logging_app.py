"""A worker whose module sets up a log in JSON and traces, by the standard library's means alone."""

import json
import logging
import os

from opentelemetry.sdk.trace import TracerProvider

from kiqstart import TracingMiddleware, register_task
from kiqstart.broker import StreamBroker


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        names = ("task_name", "task_id", "trace_id", "outcome")
        return json.dumps({"text": record.getMessage(), **{one: vars(record).get(one) for one in names}})


handler = logging.StreamHandler()
handler.setFormatter(Json())
logging.basicConfig(level=logging.INFO, handlers=[handler])

broker = StreamBroker(os.environ["REDIS_URL"], queue_name=os.environ["QUEUE_NAME"])
broker.add_middlewares(TracingMiddleware(TracerProvider()))


async def work() -> str:
    logging.getLogger("shop").info("at work")
    return "done"


task = register_task(broker, work, name="work")
