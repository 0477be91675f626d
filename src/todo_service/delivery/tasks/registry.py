"""Every task, typed: `await registry.session_cleanup.kiq(days_old=7)`."""

from kiqstart import BaseTasksRegistry, TaskReference
from todo_service.delivery.tasks.controllers.ping import PingTaskController
from todo_service.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from todo_service.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from todo_service.delivery.tasks.names import TaskName

__all__ = ["TaskName", "TasksRegistry"]


class TasksRegistry(BaseTasksRegistry):
    """The tasks of this service. Each call takes the arguments of the method named here."""

    ping = TaskReference(TaskName.PING, PingTaskController.ping)
    session_cleanup = TaskReference(TaskName.SESSION_CLEANUP, SessionCleanupTaskController.cleanup_old_sessions)
    todo_cleanup = TaskReference(TaskName.TODO_CLEANUP, TodoCleanupTaskController.cleanup_completed_todos)
