from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import true

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.core.retention.pace import PaceLimits
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.progress import RetentionProgress
from kiqstart.core.retention.walks import HeapPages, KeyRange, Walk
from kiqstart.core.session.models import RefreshSession
from kiqstart.core.session.repository import RefreshSessionRepository
from kiqstart.core.todo.models import Todo
from kiqstart.core.user.models import User

Execute = Callable[[str], Awaitable[None]]
Count = Callable[[str], Awaitable[int]]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BY_EXPIRY = (RefreshSession.expires_at, RefreshSession.id)


def fixed(size: int) -> PaceLimits:
    return PaceLimits(first=size, floor=size, ceiling=size)


def sessions_before(cutoff: datetime, walk: Walk) -> RetentionPolicy:
    return RetentionPolicy(
        name="sessions",
        model=RefreshSession,
        predicate=RefreshSession.expires_at < cutoff,
        walk=walk,
        error_key=(RefreshSession.id,),
    )


def all_todos(walk: Walk) -> RetentionPolicy:
    return RetentionPolicy(
        name="todos", model=Todo, predicate=Todo.is_completed & true(), walk=walk, error_key=(Todo.user_id,)
    )


def insert_session(user: User, name: str, expires_at: datetime) -> str:
    return (
        "INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at) VALUES "  # noqa: S608 - the test's own
        f"({user.id}, sha256('{name}'), '2020-01-01 00:00:00+00', '{expires_at.isoformat()}')"
    )


async def test_the_cutoff_itself_is_kept(
    retention: RetentionEngine, user: User, execute: Execute, count: Count
) -> None:
    for name, offset in {"before": -1, "at": 0, "after": 1}.items():
        await execute(insert_session(user, name, NOW + timedelta(microseconds=offset)))
    report = await retention.run(RefreshSessionRepository().expired_policy(NOW))
    assert report.deleted == 1
    assert await count("refresh_sessions WHERE refresh_token_hash = sha256('before')") == 0
    assert await count("refresh_sessions") == 2


@pytest.mark.usefixtures("expired")
@pytest.mark.parametrize(("size", "batches"), [(30, 17), (50, 10), (499, 2), (500, 1), (501, 1)])
async def test_key_batches_hold_as_many_rows_as_they_may(
    retention: RetentionEngine, count: Count, size: int, batches: int
) -> None:
    report = await retention.run(sessions_before(datetime.now(UTC), KeyRange(BY_EXPIRY, fixed(size))))
    assert (report.deleted, report.batches) == (500, batches)
    assert await count("refresh_sessions") == await count("refresh_sessions WHERE expires_at > now()") == 100


@pytest.mark.parametrize("size", [1, 7, 50, 149, 150, 400])
async def test_rows_with_equal_keys_are_cut_into_batches(
    retention: RetentionEngine, user: User, execute: Execute, count: Count, size: int
) -> None:
    # 150 at each of two moments, with one row before, between and after them.
    await execute(
        f"""
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), '2020-01-01 00:00:00+00',
               timestamptz '2026-01-01 00:00:00+00' + CASE WHEN n = 0 THEN 0 WHEN n <= 150 THEN 1 WHEN n = 151 THEN 2
                   WHEN n <= 301 THEN 3 ELSE 4 END * interval '1 day'
        FROM generate_series(0, 302) n
        """  # noqa: S608 - the test's own
    )
    report = await retention.run(sessions_before(NOW, KeyRange(BY_EXPIRY, fixed(size))))
    assert (report.deleted, report.batches) == (303, -(-303 // size))
    assert await count("refresh_sessions") == 0


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_heap_batches_hold_as_many_pages_as_they_may(retention: RetentionEngine, count: Count, size: int) -> None:
    pages = await count("generate_series(1, pg_relation_size('todos') / current_setting('block_size')::int)")
    assert pages > 5
    report = await retention.run(all_todos(HeapPages(fixed(size))))
    assert (report.deleted, report.batches) == (500, -(-pages // size))
    assert await count("todos") == await count("todos WHERE NOT is_completed") == 500


@pytest.mark.usefixtures("completed")
async def test_a_key_of_one_column_needs_no_second(retention: RetentionEngine, count: Count) -> None:
    report = await retention.run(all_todos(KeyRange((Todo.id,), fixed(30))))
    assert (report.deleted, report.batches) == (500, 17)
    assert await count("todos WHERE is_completed") == 0


@pytest.mark.parametrize("walk", [KeyRange((Todo.id,)), HeapPages()])
async def test_an_empty_table_is_done_at_once(retention: RetentionEngine, walk: Walk) -> None:
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    report = await retention.run(all_todos(walk), progress=watch)
    assert (report.deleted, report.batches) == (0, 0)
    assert [(progress.deleted, progress.fraction) for progress in seen] == [(0, 1.0)]


@pytest.mark.usefixtures("completed")
# The last page may have had room for some of the new rows.
@pytest.mark.parametrize(("walk", "most"), [(KeyRange((Todo.id,), fixed(30)), 500), (HeapPages(fixed(1)), 550)])
async def test_a_run_ends_though_rows_keep_coming(
    retention: RetentionEngine, user: User, execute: Execute, count: Count, walk: Walk, most: int
) -> None:
    async def insert_more(_: RetentionProgress) -> None:
        await execute(
            "INSERT INTO todos (user_id, title, is_completed, completed_at) "  # noqa: S608 - the test's own
            f"SELECT {user.id}, repeat('long', 100), true, now() FROM generate_series(1, 100)"
        )

    report = await retention.run(all_todos(walk), progress=insert_more)
    assert 500 <= report.deleted <= most
    assert await count("todos WHERE is_completed AND title LIKE 'todo%'") == 0


@pytest.mark.parametrize("walk", [KeyRange(BY_EXPIRY, fixed(10)), HeapPages(fixed(1))])
@pytest.mark.usefixtures("expired")
async def test_progress_rises_to_one(retention: RetentionEngine, walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100_000))
    monkeypatch.setattr("kiqstart.core.retention.progress.monotonic", lambda: float(next(ticks)))
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    report = await retention.run(sessions_before(datetime.now(UTC), walk), progress=watch)
    fractions = [progress.fraction for progress in seen]
    assert len(seen) == report.batches + 1
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.5
    assert fractions[len(fractions) // 2] == pytest.approx(0.5, abs=0.2)
    assert (seen[-1].fraction, seen[-1].deleted) == (1.0, 500)
