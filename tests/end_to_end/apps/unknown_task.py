"""A table with a schedule for a task that does not exist."""

from datetime import timedelta

from aioinject import Object
from taskiq import TaskiqScheduler

from kiqstart.infrastructure.taskiq.process import exit_on_operator_error
from kiqstart.infrastructure.taskiq.schedules import IntervalSchedule, ScheduleTable
from kiqstart.ioc.container import ContainerFactory

with exit_on_operator_error():
    table = ScheduleTable([IntervalSchedule(name="hourly", task="wash.dishes", every=timedelta(hours=1))])
    scheduler = ContainerFactory(overrides=[Object(table, interface=ScheduleTable)])().resolve(TaskiqScheduler)
