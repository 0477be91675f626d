from collections.abc import Sequence
from typing import cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from taskiq import InMemoryBroker

from kiqstart.core.retention.progress import ProgressCallback, RetentionProgress
from kiqstart.core.retention.report import RetentionFailure, RetentionReport
from kiqstart.core.session.service import RefreshSessionService
from kiqstart.core.todo.service import TodoService
from kiqstart.core.user.service import UserService
from kiqstart.delivery.tasks.controllers.ping import PingTaskController
from kiqstart.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from kiqstart.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from kiqstart.delivery.tasks.names import TaskName
from kiqstart.delivery.tasks.registry import TasksRegistry
from kiqstart.infrastructure.taskiq.arguments import ArgumentsMiddleware
from kiqstart.infrastructure.taskiq.errors import InvalidTaskArgumentsError


def report(deleted: int, errors: Sequence[RetentionFailure] = ()) -> RetentionReport:
    return RetentionReport(
        policy="test", deleted=deleted, batches=1, seconds=0.1, longest_batch=0.1, errors=tuple(errors)
    )


class Sessions:
    """Stands in for the session service: deletes as many rows as days are asked for."""

    async def delete_expired(self, *, days_old: int, progress: ProgressCallback) -> RetentionReport:
        await progress(RetentionProgress(deleted=days_old, fraction=1.0, seconds=0.1))
        return report(days_old)


class Todos:
    """Stands in for the todo service: one user's todo cannot be deleted."""

    async def delete_completed(self, *, progress: ProgressCallback) -> RetentionReport:
        await progress(RetentionProgress(deleted=5, fraction=1.0, seconds=0.1))
        return report(5, [RetentionFailure(key={"user_id": 7}, error="is referenced")])


class Users:
    """Stands in for the user service."""

    async def count_active(self) -> int:
        return 3


@pytest.fixture
def registry() -> TasksRegistry:
    broker = InMemoryBroker(await_inplace=True).with_middlewares(ArgumentsMiddleware())
    registry = TasksRegistry(broker)
    registry.register(
        [
            PingTaskController(),
            SessionCleanupTaskController(_sessions=cast("RefreshSessionService", Sessions())),
            TodoCleanupTaskController(_todos=cast("TodoService", Todos()), _users=cast("UserService", Users())),
        ],
        TaskName,
    )
    return registry


async def test_ping_answers_pong(registry: TasksRegistry) -> None:
    task = await registry.ping.kiq()
    assert (await task.wait_result(timeout=5)).return_value == {"result": "pong"}


async def test_session_cleanup_takes_thirty_days_unless_told(registry: TasksRegistry) -> None:
    default, week = await registry.session_cleanup.kiq(), await registry.session_cleanup.kiq(days_old=7)
    assert (await default.wait_result(timeout=5)).return_value == {"deleted_count": 30}
    assert (await week.wait_result(timeout=5)).return_value == {"deleted_count": 7}


async def test_a_negative_age_is_refused_at_the_caller(registry: TasksRegistry) -> None:
    with pytest.raises(
        InvalidTaskArgumentsError, match="argument days_old: Input should be greater than or equal to 0"
    ):
        await registry.session_cleanup.kiq(days_old=-1)


async def test_todo_cleanup_reports_what_it_could_not_delete(registry: TasksRegistry) -> None:
    task = await registry.todo_cleanup.kiq()
    assert (await task.wait_result(timeout=5)).return_value == {
        "users_processed": 3,
        "todos_deleted": 5,
        "errors": [{"user_id": 7, "error": "is referenced"}],
    }


async def test_progress_that_cannot_be_stored_costs_the_clean_up_nothing(
    registry: TasksRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(registry.broker.result_backend, "set_progress", fail)
    task = await registry.session_cleanup.kiq(days_old=7)
    assert (await task.wait_result(timeout=5)).return_value == {"deleted_count": 7}


async def test_progress_can_be_followed(registry: TasksRegistry) -> None:
    task = await registry.session_cleanup.kiq(days_old=7)
    progress = await task.get_progress()
    assert progress is not None
    assert progress.meta == {"deleted": 7, "fraction": 1.0, "seconds": 0.1}
