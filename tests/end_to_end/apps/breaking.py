"""The service with a task that can break: `taskiq worker tests.end_to_end.apps.breaking:broker`."""

from tests.end_to_end.apps.breakable import register

from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.ioc.container import ContainerFactory

broker = ContainerFactory()().resolve(TasksRegistry).broker
register(broker)
