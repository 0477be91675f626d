from datetime import UTC, datetime, timedelta
from secrets import token_bytes

import pytest_asyncio
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.deadlines import HANG

from kiqstart.testing import ProcessFactory
from todo_service.core.session.models import RefreshSession
from todo_service.core.todo.models import Todo
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.ioc.container import ServiceContainer

NOW = datetime.now(UTC)


@pytest_asyncio.fixture
async def users(container: ServiceContainer) -> dict[str, int]:
    """An active and an inactive user, by name."""
    service = container.resolve(UserService)
    people = [await service.create(username=name, email=f"{name}@example.org") for name in ("ada", "bob")]
    await service.deactivate(people[1].id)
    return {person.username: person.id for person in people}


def refresh_session(user_id: int, name: str, expires_in: timedelta, *, revoked: bool = False) -> RefreshSession:
    return RefreshSession(
        user_id=user_id,
        refresh_token_hash=token_bytes(32),
        user_agent=name,
        created_at=NOW - timedelta(days=90),
        last_used_at=NOW - timedelta(days=90),
        expires_at=NOW + expires_in,
        revoked_at=NOW if revoked else None,
    )


async def add_sessions(session_factory: async_sessionmaker[AsyncSession], user_id: int) -> None:
    async with session_factory.begin() as session:
        session.add_all(
            [
                refresh_session(user_id, "expired long ago", timedelta(days=-60)),
                refresh_session(user_id, "expired 31 days ago", timedelta(days=-31)),
                refresh_session(user_id, "expired 29 days ago", timedelta(days=-29)),
                refresh_session(user_id, "expired this second", timedelta(seconds=0)),
                refresh_session(user_id, "expired and revoked", timedelta(days=-60), revoked=True),
                refresh_session(user_id, "revoked but not expired", timedelta(days=1), revoked=True),
                refresh_session(user_id, "expires in an hour", timedelta(hours=1)),
            ]
        )


async def remaining_sessions(session_factory: async_sessionmaker[AsyncSession]) -> set[str | None]:
    async with session_factory() as session:
        return set(await session.scalars(select(RefreshSession.user_agent)))


async def test_all_expired_sessions_go_and_no_other(
    registry: TasksRegistry,
    worker: ProcessFactory,
    session_factory: async_sessionmaker[AsyncSession],
    users: dict[str, int],
) -> None:
    await add_sessions(session_factory, users["ada"])
    with worker():
        result = await (await registry.session_cleanup.kiq(days_old=0)).wait_result(timeout=HANG)
        again = await (await registry.session_cleanup.kiq(days_old=0)).wait_result(timeout=HANG)
    assert result.return_value["deleted_count"] == 5
    assert again.return_value["deleted_count"] == 0
    assert await remaining_sessions(session_factory) == {"revoked but not expired", "expires in an hour"}


async def test_sessions_that_expired_lately_stay_by_default(
    registry: TasksRegistry,
    worker: ProcessFactory,
    session_factory: async_sessionmaker[AsyncSession],
    users: dict[str, int],
) -> None:
    await add_sessions(session_factory, users["bob"])
    # Sent before any worker exists: it is run by the first that comes.
    task = await registry.session_cleanup.kiq()
    with worker("--workers", "2"):
        result = await task.wait_result(timeout=HANG)
    assert result.return_value["deleted_count"] == 3
    assert await remaining_sessions(session_factory) == {
        "expired 29 days ago",
        "expired this second",
        "revoked but not expired",
        "expires in an hour",
    }


async def test_completed_todos_of_active_users_go_and_no_other(
    container: ServiceContainer,
    registry: TasksRegistry,
    worker: ProcessFactory,
    session_factory: async_sessionmaker[AsyncSession],
    users: dict[str, int],
) -> None:
    todos = container.resolve(TodoService)
    for name, user_id in users.items():
        for number in range(5):
            todo = await todos.create(user_id=user_id, title=f"{name} {number}")
            if number not in {1, 4}:
                await todos.complete(todo.id)
    with worker():
        task = await registry.todo_cleanup.kiq()
        result = await task.wait_result(timeout=HANG)
        progress = await task.get_progress()
    assert result.return_value["users_processed"] == 1
    assert result.return_value["todos_deleted"] == 3
    assert result.return_value["errors"] == []
    assert progress is not None
    assert progress.meta is not None
    assert (progress.meta["deleted"], progress.meta["fraction"]) == (3, 1.0)
    async with session_factory() as session:
        titles = set(await session.scalars(select(Todo.title)))
    assert titles == {"ada 1", "ada 4", *(f"bob {number}" for number in range(5))}


async def test_tasks_run_without_redis_in_the_program_that_sends_them(
    in_memory_registry: TasksRegistry, session_factory: async_sessionmaker[AsyncSession], users: dict[str, int]
) -> None:
    await add_sessions(session_factory, users["ada"])
    task = await in_memory_registry.session_cleanup.kiq(days_old=0)
    result = await task.wait_result(check_interval=0.01, timeout=HANG)
    assert result.return_value["deleted_count"] == 5
