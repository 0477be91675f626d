import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.core.retention.pace import PaceLimits
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.progress import RetentionProgress
from kiqstart.core.retention.walks import HeapPages, KeyRange, Walk
from kiqstart.core.session.service import RefreshSessionService
from kiqstart.core.todo.models import Todo
from kiqstart.core.todo.service import TodoService
from kiqstart.core.user.models import User
from kiqstart.core.user.service import UserService
from kiqstart.testing import eventually

Execute = Callable[[str], Awaitable[None]]
Count = Callable[[str], Awaitable[int]]

BLOCKED = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
IN_TRANSACTION = (
    "pg_stat_activity WHERE datname = current_database() AND xact_start < now() AND pid <> pg_backend_pid()"
)


def completed_todos(walk: Walk) -> RetentionPolicy:
    return RetentionPolicy(
        name="todos", model=Todo, predicate=Todo.is_completed.is_(True), walk=walk, error_key=(Todo.user_id,)
    )


def trigger(body: str) -> str:
    return f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN OLD; END $$
        ;;
        CREATE TRIGGER refuse BEFORE DELETE ON todos FOR EACH ROW EXECUTE FUNCTION refuse()
    """


@pytest.fixture
def drop_trigger(drop_after: list[str]) -> None:
    drop_after += ["DROP TRIGGER IF EXISTS refuse ON todos", "DROP FUNCTION IF EXISTS refuse"]


@pytest.mark.usefixtures("completed")
# Of the key's two batches the first ends with 'todo 500'.
@pytest.mark.parametrize("checked", ["NOT DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("walk", [KeyRange((Todo.id,), PaceLimits(first=250, floor=250, ceiling=250)), HeapPages()])
async def test_a_referenced_row_costs_only_itself(
    retention: RetentionEngine,
    user: User,
    execute: Execute,
    count: Count,
    drop_after: list[str],
    walk: Walk,
    checked: str,
) -> None:
    drop_after.append("DROP TABLE notes")
    await execute(f"CREATE TABLE notes (todo_id bigint CONSTRAINT note_of_todo REFERENCES todos {checked})")
    await execute("INSERT INTO notes SELECT id FROM todos WHERE title IN ('todo 2', 'todo 500', 'todo 501')")

    report = await retention.run(completed_todos(walk))

    assert report.deleted == 498
    assert await count("todos WHERE is_completed") == await count("todos WHERE title IN ('todo 2', 'todo 500')") == 2
    assert await count("todos") == 502
    (failure,) = report.errors
    assert (failure.key, failure.rows, report.failed) == ({"user_id": user.id}, 2, 2)
    assert 'violates foreign key constraint "note_of_todo"' in failure.error
    assert "\n" not in failure.error


@pytest.mark.usefixtures("completed", "drop_trigger")
async def test_one_users_failure_does_not_stop_the_rest(
    todos: TodoService, users: UserService, execute: Execute, count: Count
) -> None:
    locked = await users.create(username="locked", email="")
    await execute(f"UPDATE todos SET user_id = {locked.id} WHERE id % 10 = 0")  # noqa: S608 - the test's own
    await execute(trigger(f"IF OLD.user_id = {locked.id} THEN RAISE 'on legal hold'; END IF;"))

    report = await todos.delete_completed()

    assert report.deleted == 400
    assert [(failure.key, failure.error, failure.rows) for failure in report.errors] == [
        ({"user_id": locked.id}, "on legal hold", 100)
    ]
    assert await count(f"todos WHERE is_completed AND user_id = {locked.id}") == 100
    assert await count("todos WHERE is_completed") == 100


@pytest.mark.usefixtures("expired")
async def test_a_failing_session_is_reported_by_its_id(
    sessions: RefreshSessionService, execute: Execute, count: Count, engine: AsyncEngine, drop_after: list[str]
) -> None:
    drop_after.append("DROP TABLE notes")
    await execute(
        "CREATE TABLE notes AS SELECT id AS session_id FROM refresh_sessions ORDER BY expires_at OFFSET 250 LIMIT 1;;"
        "ALTER TABLE notes ADD FOREIGN KEY (session_id) REFERENCES refresh_sessions"
    )
    report = await sessions.delete_expired(days_old=0)
    assert report.deleted == 499
    assert await count("refresh_sessions") == 101
    async with engine.begin() as connection:
        referenced = (await connection.execute(text("SELECT session_id FROM notes"))).scalar_one()
    assert [failure.key for failure in report.errors] == [{"id": str(referenced)}]


@pytest.mark.usefixtures("completed", "drop_trigger")
@pytest.mark.parametrize(
    "failure",
    [
        "RAISE 'disk full' USING ERRCODE = 'disk_full';",
        "RAISE 'may not' USING ERRCODE = 'insufficient_privilege';",
        "PERFORM pg_terminate_backend(pg_backend_pid());",
    ],
)
async def test_what_no_row_is_to_blame_for_ends_the_run(
    retention: RetentionEngine, execute: Execute, count: Count, failure: str
) -> None:
    await execute(trigger(f"IF OLD.title = 'todo 900' THEN {failure} END IF;"))
    with pytest.raises(DBAPIError):
        await retention.run(completed_todos(HeapPages(PaceLimits(first=1, floor=1, ceiling=1))))
    # What was committed before stays deleted.
    assert 50 <= await count("todos WHERE is_completed") <= 150
    assert await count("todos WHERE title = 'todo 900'") == 1


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("walk", [KeyRange((Todo.id,)), HeapPages()])
async def test_a_row_that_became_live_meanwhile_is_kept(
    retention: RetentionEngine, engine: AsyncEngine, count: Count, walk: Walk
) -> None:
    async with engine.connect() as writer:
        await writer.execute(
            text("UPDATE todos SET is_completed = false, completed_at = NULL WHERE title IN ('todo 2', 'todo 600')")
        )
        run = asyncio.create_task(retention.run(completed_todos(walk)))

        async def blocked() -> bool:
            return await count(BLOCKED) == 1

        await eventually(blocked)
        await writer.commit()
    report = await run
    assert (report.deleted, report.errors) == (498, ())
    assert await count("todos WHERE title IN ('todo 2', 'todo 600')") == 2


@pytest.mark.usefixtures("completed")
async def test_cancelling_between_batches_keeps_what_was_committed(retention: RetentionEngine, count: Count) -> None:
    reported = asyncio.Event()

    async def wait_for_ever(_: RetentionProgress) -> None:
        reported.set()
        await asyncio.Event().wait()

    policy = completed_todos(KeyRange((Todo.id,), PaceLimits(first=100, floor=100, ceiling=100)))
    run = asyncio.create_task(retention.run(policy, progress=wait_for_ever))
    await reported.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await count("todos WHERE is_completed") == 400
    assert await count(IN_TRANSACTION) == 0
    assert (await retention.run(policy)).deleted == 400


@pytest.mark.usefixtures("completed")
async def test_cancelling_within_a_batch_takes_it_back(
    retention: RetentionEngine, engine: AsyncEngine, count: Count
) -> None:
    policy = completed_todos(KeyRange((Todo.id,), PaceLimits(first=100, floor=100, ceiling=100)))
    async with engine.connect() as other:
        # The 101st completed todo: the second batch begins with it.
        await other.execute(text("SELECT 1 FROM todos WHERE title = 'todo 202' FOR UPDATE"))
        run = asyncio.create_task(retention.run(policy))

        async def blocked() -> bool:
            return await count(BLOCKED) == 1

        await eventually(blocked)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    async def released() -> bool:
        return await count(IN_TRANSACTION) == 0

    await eventually(released)
    assert await count("todos WHERE is_completed") == 400
    assert (await retention.run(policy)).deleted == 400
