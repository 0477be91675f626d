"""A broker, and the scheduler that `taskiq scheduler` asks for."""

import os

from taskiq import TaskiqScheduler

from kiqstart import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.source import DurableScheduleSource

broker = StreamBroker(os.environ["REDIS_URL"], connect_timeout=1)
scheduler = TaskiqScheduler(broker, [DurableScheduleSource(broker)])
app = App(broker=broker, scheduler=scheduler)
