"""A scheduler that ticks every second: `taskiq scheduler tests.end_to_end.apps.ticking:scheduler`."""

from datetime import timedelta

from aioinject import Object
from taskiq import TaskiqScheduler

from kiqstart.scheduler.table import IntervalSchedule, StaticSchedules
from todo_service.delivery.tasks.names import TaskName
from todo_service.ioc.container import ContainerFactory

TABLE = StaticSchedules(
    [
        IntervalSchedule(name="tick", task=TaskName.PING, every=timedelta(seconds=1)),
        IntervalSchedule(name="daily", task=TaskName.PING, every=timedelta(days=1)),
    ]
)
scheduler = ContainerFactory(overrides=[Object(TABLE, interface=StaticSchedules)])().resolve(TaskiqScheduler)
