"""The retention policies of this service."""

from datetime import UTC, datetime

from kiqstart.retention import RetentionEngine, RetentionPolicies, RetentionPolicy
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.todo.repository import TodoRepository
from todo_service.delivery.tasks.names import TaskName


def retention_policies(
    engine: RetentionEngine, sessions: RefreshSessionRepository, todos: TodoRepository
) -> RetentionPolicies:
    """Every policy, as it would be run now with the least age: a line for each."""

    def policies() -> list[RetentionPolicy]:
        return [
            sessions.expired_policy(datetime.now(UTC)),
            todos.completed_policy(),
        ]

    tasks = {"expired_sessions": TaskName.SESSION_CLEANUP, "completed_todos": TaskName.TODO_CLEANUP}
    return RetentionPolicies(engine, policies, tasks=tasks)
