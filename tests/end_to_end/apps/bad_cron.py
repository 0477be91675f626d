"""A table with a cron expression that is never due."""

from kiqstart.delivery.tasks.names import TaskName
from kiqstart.infrastructure.taskiq.process import exit_on_operator_error
from kiqstart.infrastructure.taskiq.schedules import CronSchedule

with exit_on_operator_error():
    table = (CronSchedule(name="never", task=TaskName.PING, cron="0 0 30 2 *"),)
