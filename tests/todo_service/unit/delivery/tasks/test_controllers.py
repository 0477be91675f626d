from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Unpack, cast

import pytest
from taskiq import InMemoryBroker
from tests.deadlines import HANG

from kiqstart import CleanupOptions, CleanupResult, CleanupRunner
from kiqstart.retention import RetentionFailure, RetentionPreview, RetentionReport
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.controllers.ping import PingTaskController
from todo_service.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from todo_service.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from todo_service.delivery.tasks.registry import TasksRegistry

REPORT = RetentionReport(
    policy="test",
    run_id="a run",
    scan=ScanKind.PAGES,
    reason="the policy asks for it",
    deleted=5,
    batches=1,
    seconds=0.1,
    longest_batch=0.1,
    failed=3,
    errors=(
        RetentionFailure(key={"user_id": 7, "id": 1}, error="is referenced", rows=2),
        RetentionFailure(key={"user_id": 9, "id": 4}, error="is precious", rows=1),
    ),
)
PREVIEW = RetentionPreview(
    policy="test",
    scan=ScanKind.PAGES,
    reason="the policy asks for it",
    rows=11,
    is_estimate=False,
    table_rows=40,
)


class Sessions:
    """Stands in for the session service: the policy's name tells the age."""

    async def expired_policy(self, *, days_old: int) -> RetentionPolicy:
        policy = RefreshSessionRepository().expired_policy(datetime.now(UTC))
        return RetentionPolicy(name=f"{days_old} days old", model=policy.model, predicate=policy.predicate)


class Todos:
    """Stands in for the todo service."""

    def completed_policy(self) -> RetentionPolicy:
        return TodoRepository().completed_policy()


class Users:
    """Stands in for the user service."""

    async def count_active(self) -> int:
        return 3


@dataclass
class Cleanups:
    """Stands in for the runner, and remembers what it was asked for."""

    report: RetentionReport | None = field(default_factory=lambda: REPORT)
    runs: list[tuple[str, CleanupOptions]] = field(default_factory=list[tuple[str, CleanupOptions]])
    previews: list[str] = field(default_factory=list[str])

    async def run(
        self,
        policy: RetentionPolicy,
        context: object,
        progress: object,
        *,
        dry_run: bool,
        **options: Unpack[CleanupOptions],
    ) -> CleanupResult:
        assert context is not None
        assert progress is not None
        if dry_run:
            self.previews.append(policy.name)
            return CleanupResult(preview=PREVIEW)
        self.runs.append((policy.name, options))
        return CleanupResult(deleted=self.report.deleted if self.report else 0, report=self.report)


@pytest.fixture
def cleanups() -> Cleanups:
    return Cleanups()


@pytest.fixture
def registry(cleanups: Cleanups) -> TasksRegistry:
    runner = cast("CleanupRunner", cleanups)
    registry = TasksRegistry(InMemoryBroker(await_inplace=True).with_middlewares(ArgumentsMiddleware()))
    for controller in (
        PingTaskController(),
        SessionCleanupTaskController(_sessions=cast("RefreshSessionService", Sessions()), _cleanups=runner),
        TodoCleanupTaskController(
            _todos=cast("TodoService", Todos()), _users=cast("UserService", Users()), _cleanups=runner
        ),
    ):
        controller.register(registry.broker)
    return registry


async def test_ping_answers_pong(registry: TasksRegistry) -> None:
    task = await registry.ping.kiq()
    assert (await task.wait_result(timeout=HANG)).return_value == {"result": "pong"}


async def test_session_cleanup_takes_thirty_days_unless_told(registry: TasksRegistry, cleanups: Cleanups) -> None:
    for task in (await registry.session_cleanup.kiq(), await registry.session_cleanup.kiq(days_old=7)):
        result = (await task.wait_result(timeout=HANG)).return_value
        assert result == {"deleted_count": 5, "report": REPORT, "preview": None}
    assert cleanups.runs == [("30 days old", CleanupOptions()), ("7 days old", CleanupOptions())]


async def test_options_are_handed_on(registry: TasksRegistry, cleanups: Cleanups) -> None:
    await registry.session_cleanup.kiq(days_old=7, shards=2, row_limit=100, time_budget=1.5)
    await registry.todo_cleanup.kiq(shards=64, row_limit=1, time_budget=60)
    assert [options for _, options in cleanups.runs] == [
        CleanupOptions(shards=2, row_limit=100, time_budget=1.5),
        CleanupOptions(shards=64, row_limit=1, time_budget=60.0),
    ]


async def test_a_dry_run_tells_what_would_go_and_runs_nothing(registry: TasksRegistry, cleanups: Cleanups) -> None:
    sessions = await registry.session_cleanup.kiq(days_old=7, dry_run=True)
    todos = await registry.todo_cleanup.kiq(dry_run=True)
    assert (await sessions.wait_result(timeout=HANG)).return_value == {
        "deleted_count": 0,
        "report": None,
        "preview": PREVIEW,
    }
    assert (await todos.wait_result(timeout=HANG)).return_value == {
        "users_processed": 3,
        "todos_deleted": 0,
        "errors": [],
        "report": None,
        "preview": PREVIEW,
    }
    assert cleanups.previews == ["7 days old", "completed_todos"]
    assert cleanups.runs == []


async def test_todo_cleanup_reports_by_user_what_it_could_not_delete(registry: TasksRegistry) -> None:
    task = await registry.todo_cleanup.kiq()
    assert (await task.wait_result(timeout=HANG)).return_value == {
        "users_processed": 3,
        "todos_deleted": 5,
        "errors": [{"user_id": 7, "error": "is referenced"}, {"user_id": 9, "error": "is precious"}],
        "report": REPORT,
        "preview": None,
    }


async def test_who_helps_with_anothers_run_reports_nothing(registry: TasksRegistry, cleanups: Cleanups) -> None:
    cleanups.report = None
    sessions, todos = await registry.session_cleanup.kiq(), await registry.todo_cleanup.kiq()
    assert (await sessions.wait_result(timeout=HANG)).return_value == {
        "deleted_count": 0,
        "report": None,
        "preview": None,
    }
    assert (await todos.wait_result(timeout=HANG)).return_value == {
        "users_processed": 3,
        "todos_deleted": 0,
        "errors": [],
        "report": None,
        "preview": None,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"days_old": -1}, "days_old: Input should be greater than or equal to 0"),
        ({"shards": 0}, "shards: Input should be greater than or equal to 1"),
        ({"shards": 65}, "shards: Input should be less than or equal to 64"),
        ({"row_limit": 0}, "row_limit: Input should be greater than or equal to 1"),
        ({"row_limit": 2**63}, "row_limit: Input should be less than or equal to 9223372036854775807"),
        ({"time_budget": 0}, "time_budget: Input should be greater than 0"),
        ({"time_budget": float("nan")}, "time_budget: Input should be a finite number"),
        ({"time_budget": float("inf")}, "time_budget: Input should be a finite number"),
        ({"dry_run": "perhaps"}, "dry_run: Input should be a valid boolean"),
    ],
)
async def test_an_option_out_of_its_range_is_refused_at_the_caller(
    registry: TasksRegistry, cleanups: Cleanups, arguments: dict[str, object], problem: str
) -> None:
    # As a call arrives that no type checker has seen.
    task = registry.task("session.cleanup")
    with pytest.raises(InvalidTaskArgumentsError, match=f"session.cleanup: argument {problem}"):
        await task.kiq(**arguments)
    assert cleanups.runs == []
