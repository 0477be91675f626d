"""What the worker and the scheduler are started with.

kiqstart worker        # or: taskiq worker todo_service.delivery.tasks.app:broker
taskiq scheduler todo_service.delivery.tasks.app:scheduler
"""

from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart.observability.logging import LogSettings, configure_logging
from kiqstart.processes.exits import exit_on_operator_error

with exit_on_operator_error():
    # Imported here, since a schedule that can never be due is noticed while its table is imported.
    from todo_service.delivery.tasks.registry import TasksRegistry
    from todo_service.ioc.container import ContainerFactory

    container = ContainerFactory()()
    configure_logging(container.resolve(LogSettings))
    broker: AsyncBroker = container.resolve(TasksRegistry).broker
    scheduler: TaskiqScheduler = container.resolve(TaskiqScheduler)
