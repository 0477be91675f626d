"""The demo's scheduler: as the service's own, with a table that is soon due.

taskiq scheduler todo_service.demo.app:scheduler
"""

from taskiq import TaskiqScheduler

from kiqstart import LogSettings, configure_logging, exit_on_operator_error
from todo_service.demo.schedules import demo_container

with exit_on_operator_error():
    container = demo_container()
    configure_logging(container.resolve(LogSettings))
    scheduler: TaskiqScheduler = container.resolve(TaskiqScheduler)
