"""Every task, typed: `await registry.session_cleanup.kiq(days_old=7)`."""

from kiqstart.delivery.tasks.controllers.ping import PingTaskController
from kiqstart.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from kiqstart.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from kiqstart.delivery.tasks.names import TaskName
from kiqstart.infrastructure.taskiq.registry import BaseTasksRegistry, TaskReference

__all__ = ["TaskName", "TasksRegistry"]


class TasksRegistry(BaseTasksRegistry):
    """The tasks of this service. Each call takes the arguments of the method named here."""

    ping = TaskReference(TaskName.PING, PingTaskController.ping)
    session_cleanup = TaskReference(TaskName.SESSION_CLEANUP, SessionCleanupTaskController.cleanup_old_sessions)
    todo_cleanup = TaskReference(TaskName.TODO_CLEANUP, TodoCleanupTaskController.cleanup_completed_todos)
