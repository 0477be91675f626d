"""The demo's scheduler: as the service's own, with a table that is soon due.

taskiq scheduler kiqstart.delivery.cli.demo.app:scheduler
"""

from taskiq import TaskiqScheduler

from kiqstart.delivery.cli.demo.schedules import demo_container
from kiqstart.infrastructure.observability.logging import LogSettings, configure_logging
from kiqstart.infrastructure.taskiq.process import exit_on_operator_error

with exit_on_operator_error():
    container = demo_container()
    configure_logging(container.resolve(LogSettings))
    scheduler: TaskiqScheduler = container.resolve(TaskiqScheduler)
