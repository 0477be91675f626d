"""What the benchmark's worker runs: the service, and its policies by `retention.run`."""

from datetime import UTC, datetime, timedelta
from typing import Final, cast

from taskiq import AsyncBroker

from benchmarks.retention.dataset import DAYS_OLD
from benchmarks.retention.results import Table
from kiqstart import CleanupResult, RetentionTask
from kiqstart.cleanups.task import RETENTION_RUN
from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from kiqstart.tasks.task import Task
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.todo.repository import TodoRepository
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.ioc.container import ContainerFactory, ServiceContainer

POLICIES: Final = {Table.SESSIONS: "expired_sessions", Table.TODOS: "completed_todos"}
"""The policy of each table, by its name."""


def retention_run(container: ServiceContainer) -> Task[..., CleanupResult]:
    """Register `retention.run` beside the service's tasks, and return it."""
    sessions, todos = container.resolve(RefreshSessionRepository), container.resolve(TodoRepository)

    def policies() -> list[RetentionPolicy]:
        return [sessions.expired_policy(datetime.now(UTC) - timedelta(days=DAYS_OLD)), todos.completed_policy()]

    broker = container.resolve(TasksRegistry).broker
    RetentionTask(policies=RetentionPolicies(container.resolve(RetentionEngine), policies)).register(broker)
    return cast("Task[..., CleanupResult]", broker.find_task(RETENTION_RUN))


def broker() -> AsyncBroker:
    """The broker of this process, as `kiqstart worker` asks for it."""
    return retention_run(ContainerFactory()()).broker
