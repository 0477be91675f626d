import asyncio

import pytest
from sqlalchemy.exc import DBAPIError
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.testing import eventually
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.models import Todo
from todo_service.core.todo.service import TodoService
from todo_service.core.user.models import User
from todo_service.core.user.service import UserService


@pytest.mark.usefixtures("completed")
# Of the key's two batches the first ends with 'todo 500'.
@pytest.mark.parametrize(
    ("checked", "batch_rows"), [("NOT DEFERRABLE", 250), ("DEFERRABLE INITIALLY DEFERRED", 100_000)]
)
@BOTH_SCANS
async def test_a_referenced_row_costs_only_itself(
    make_retention: EngineFactory, user: User, database: Database, scan: ScanKind, checked: str, batch_rows: int
) -> None:
    database.drop_after.append("DROP TABLE notes")
    await database.execute(
        f"CREATE TABLE notes (todo_id bigint CONSTRAINT note_of_todo REFERENCES todos {checked})",
        "INSERT INTO notes SELECT id FROM todos WHERE title IN ('todo 2', 'todo 500', 'todo 501')",
    )
    kept = await database.rows(Todo, ~Todo.is_completed | Todo.title.in_(["todo 2", "todo 500"]))

    report = await make_retention(batch_rows=batch_rows).run(completed_todos(scan))

    assert await database.rows(Todo) == kept
    assert (report.deleted, report.failed, report.skipped, report.stopped) == (498, 2, 0, StopReason.END)
    (failure,) = report.errors
    first = await database.value("SELECT id FROM todos WHERE title = 'todo 2'")
    assert (failure.key, failure.rows) == ({"user_id": user.id, "id": first}, 2)
    assert 'violates foreign key constraint "note_of_todo"' in failure.error
    assert "\n" not in failure.error


@pytest.mark.usefixtures("completed")
async def test_one_users_failure_does_not_stop_the_rest(
    todos: TodoService, users: UserService, database: Database
) -> None:
    held = await users.create(username="held", email="")
    await database.execute(f"UPDATE todos SET user_id = {held.id} WHERE id % 10 = 0")  # noqa: S608 - the test's own
    await database.before_delete("todos", f"IF OLD.user_id = {held.id} THEN RAISE 'on legal hold'; END IF;")

    report = await todos.delete_completed()

    assert (report.deleted, report.failed) == (400, 100)
    assert [(one.key["user_id"], one.error, one.rows) for one in report.errors] == [(held.id, "on legal hold", 100)]
    assert await database.count(f"todos WHERE is_completed AND user_id = {held.id}") == 100
    assert await database.count("todos WHERE is_completed") == 100


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
async def test_errors_are_grouped_by_their_key_and_by_what_was_wrong(
    make_retention: EngineFactory, users: UserService, user: User, database: Database, scan: ScanKind
) -> None:
    other = await users.create(username="other", email="")
    await database.execute(f"UPDATE todos SET user_id = {other.id} WHERE id % 20 = 0")  # noqa: S608 - the test's own
    await database.before_delete(
        "todos",
        "IF OLD.id % 20 = 0 THEN RAISE 'on hold'; ELSIF OLD.id % 100 = 2 THEN RAISE 'odd %', OLD.id / 500; END IF;",
    )
    report = await make_retention(batch_rows=64).run(completed_todos(scan))
    assert (report.deleted, report.failed) == (440, 60)
    assert {(one.key["user_id"], one.error): (one.key["id"], one.rows) for one in report.errors} == {
        (other.id, "on hold"): (20, 50),
        (user.id, "odd 0"): (2, 5),
        (user.id, "odd 1"): (502, 5),
    }
    # Without a key of the policy's own, each row is an entry.
    single = await make_retention(retry_failed_after=0).run(completed_todos(scan, error_key=()))
    assert (single.deleted, single.failed, len(single.errors)) == (0, 60, 60)
    assert all(one.rows == 1 for one in single.errors)
    assert {frozenset(one.key.items()) for one in single.errors} == {
        frozenset({("id", n)}) for n in range(1, 1001) if n % 20 == 0 or n % 100 == 2
    }


@pytest.mark.usefixtures("expired")
async def test_a_failing_session_is_reported_by_its_id(sessions: RefreshSessionService, database: Database) -> None:
    database.drop_after.append("DROP TABLE notes")
    await database.execute(
        "CREATE TABLE notes AS SELECT id AS session_id FROM refresh_sessions ORDER BY expires_at OFFSET 250 LIMIT 1",
        "ALTER TABLE notes ADD FOREIGN KEY (session_id) REFERENCES refresh_sessions",
    )
    report = await sessions.delete_expired(days_old=0)
    assert report.deleted == 499
    assert await database.count("refresh_sessions") == 101
    referenced = await database.value("SELECT session_id FROM notes")
    assert [failure.key for failure in report.errors] == [{"id": str(referenced)}]


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
async def test_rows_that_a_trigger_keeps_do_not_hold_the_run_up(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await database.before_delete("todos", "IF OLD.id % 4 = 0 THEN RETURN NULL; END IF;")
    report = await make_retention(batch_rows=100).run(completed_todos(scan))
    assert (report.deleted, report.stopped) == (250, StopReason.END)
    assert await database.count("todos WHERE is_completed") == 250


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("RAISE 'disk is full' USING ERRCODE = 'disk_full';", "disk is full"),
        ("RAISE 'you may not' USING ERRCODE = 'insufficient_privilege';", "you may not"),
        ("PERFORM no_such_function();", "no_such_function"),
    ],
)
async def test_what_no_row_is_to_blame_for_ends_the_run(
    make_retention: EngineFactory, database: Database, scan: ScanKind, failure: str, said: str
) -> None:
    await database.before_delete("todos", f"IF OLD.title = 'todo 700' THEN {failure} END IF;")
    retention = make_retention(batch_rows=50)
    with pytest.raises(DBAPIError, match=said):
        await retention.run(completed_todos(scan), run_id="one")
    # What was committed before stays deleted.
    left = await database.count("todos WHERE is_completed")
    assert 0 < left < 500
    counted = "SELECT (state ->> 'deleted')::int FROM retention_runs WHERE run_id = 'one'"
    assert await database.value(counted) == 500 - left
    assert await database.count("todos WHERE title = 'todo 700'") == 1
    await database.execute("DROP TRIGGER refuse ON todos")
    # Mended, it goes on at once, and counts all.
    report = await retention.run(completed_todos(scan), run_id="one")
    assert (report.deleted, report.failed) == (500, 0)


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
@pytest.mark.parametrize("lock_timeout", [0.05, 10])
async def test_a_row_that_became_live_meanwhile_is_kept(
    make_retention: EngineFactory, database: Database, scan: ScanKind, lock_timeout: float
) -> None:
    async with database.engine.connect() as writer:
        await writer.exec_driver_sql(
            "UPDATE todos SET is_completed = false, completed_at = NULL WHERE title IN ('todo 2', 'todo 600')"
        )
        retention = make_retention(lock_timeout=lock_timeout, batch_seconds=10)
        run = asyncio.create_task(retention.run(completed_todos(scan)))

        async def met_it() -> bool:
            return await database.waiting_for_locks() == 1 or await database.count("todos") == 502

        await eventually(met_it)
        await writer.commit()
        kept = await database.rows(Todo, ~Todo.is_completed)
    report = await run
    assert (report.deleted, report.errors, report.skipped) == (498, (), 0)
    assert await database.rows(Todo) == kept
    assert len(kept) == 502
