"""A gentle run gives way to others, whatever it is busy with; it gets on all the same, and says how long it rested."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import completed_todos
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.others import look_at_others
from kiqstart.retention.policy import PaceKind, RetentionPolicy, ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.testing import eventually
from todo_service.infrastructure.database.engine import create_engine

pytestmark = pytest.mark.usefixtures("completed")

SLOW = "PERFORM pg_sleep(0.002);"


@asynccontextmanager
async def somebody_busy(database: Database) -> AsyncGenerator[None]:
    """Another session that waits for an answer all the time."""
    async with database.engine.connect() as other:
        pid = (await other.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        busy = asyncio.create_task(other.exec_driver_sql("SELECT pg_sleep(60)"))
        try:
            yield
        finally:
            await database.execute(f"SELECT pg_cancel_backend({pid})")
            with suppress(DBAPIError):
                await busy


async def others_delete(database: Database, number: int, heartbeat: str) -> None:
    """As many shards of other runs, each of somebody who has shown life at that time."""
    columns = "policy, run_id, piece, pieces, walk, reason, basis, resumed, total, state, owner, heartbeat_at"
    values = "'other', gen_random_uuid()::text, n, 1, 'pages', '', '', false, 0, '{\"todo\": []}', gen_random_uuid()"
    await database.execute(
        f"INSERT INTO retention_runs ({columns}) SELECT {values}, {heartbeat} FROM generate_series(1, {number}) n"  # noqa: S608
    )


async def test_a_gentle_run_rests_beside_others_and_one_at_full_pace_does_not(
    make_retention: EngineFactory, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.before_delete("todos", "PERFORM pg_sleep(0.002);")
    policy, limits = completed_todos(ScanKind.PAGES), RunLimits(rows=100)
    caplog.set_level("DEBUG", "kiqstart.retention.step")

    async def shares(retention: RetentionEngine, policy: RetentionPolicy) -> tuple[float, set[str]]:
        caplog.clear()
        report = await retention.run(policy, limits=limits)
        assert (report.deleted, report.failed) == (100, 0)
        return report.seconds, {record.getMessage().rpartition("=")[2] for record in caplog.records}

    async with somebody_busy(database):
        seconds, share = await shares(make_retention(pace="gentle", batch_rows=20), policy)
        # It worked for 200 ms and more, and rested for three times that, but not after the last batch.
        assert share <= {"0.28", "0.30"}
        assert seconds > 0.5
        # The policy's own word comes before the settings'.
        for retention, own in (
            (make_retention(pace="full", batch_rows=20), policy),
            (make_retention(pace="gentle", batch_rows=20), replace(policy, pace=PaceKind.FULL)),
        ):
            assert (await shares(retention, own))[1] == {"1.00"}


async def test_others_are_seen_as_far_as_the_role_may_see_them(database: Database) -> None:
    role = str(await database.value("SELECT 'kiqstart_' || md5(current_database())"))
    database.drop_after.extend([f"DROP OWNED BY {role}", f"DROP ROLE {role}"])
    await database.execute(
        f"CREATE ROLE {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON retention_runs TO {role}",
    )
    async with somebody_busy(database), database.engine.connect() as connection:

        async def is_seen() -> bool:
            await connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            return (await look_at_others(connection, 15, uuid4())).in_flight >= 1

        await eventually(is_seen)
        await connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        hidden = await look_at_others(connection, 15, uuid4())
        # Somebody is there, and may be doing something.
        assert (hidden.in_flight, hidden.deleters) == (0, 0)
        assert hidden.others >= 1
        await connection.rollback()


async def test_a_run_that_was_killed_or_rests_does_not_pass_for_one_of_the_busy_sessions(database: Database) -> None:
    await others_delete(database, 2, "clock_timestamp() - interval '5 s'")
    # Of a killed one, before the clock was set back.
    await others_delete(database, 3, "clock_timestamp() + interval '1 hour'")
    async with somebody_busy(database), database.engine.connect() as connection:

        async def is_seen() -> bool:
            await connection.rollback()
            return (await look_at_others(connection, 15, uuid4())).in_flight >= 1

        await eventually(is_seen)
        await connection.rollback()
        seen = await look_at_others(connection, 15, uuid4())
    assert seen.others >= 1
    assert seen.deleters == 2


async def test_sessions_that_come_and_go_are_seen(engine: AsyncEngine, database_url: str) -> None:
    async def begun() -> int:
        async with engine.connect() as connection:
            return (await look_at_others(connection, 15, uuid4())).begun

    before = await begun()
    short = create_engine(database_settings(database_url))
    async with short.connect() as connection:
        await connection.exec_driver_sql("SELECT 1")
    await short.dispose()

    async def is_counted() -> bool:
        return await begun() > before

    await eventually(is_counted)


async def test_batches_that_fail_are_rested_from_as_well(make_retention: EngineFactory, database: Database) -> None:
    await database.execute("DELETE FROM todos WHERE id > 200 + (SELECT min(id) FROM todos)")
    await database.before_delete("todos", f"{SLOW} RAISE 'on hold';")
    async with somebody_busy(database):
        report = await make_retention(pace="gentle", batch_rows=20, batch_seconds=5).run(
            completed_todos(ScanKind.PAGES)
        )
    assert (report.deleted, report.failed, report.stopped) == (0, 100, StopReason.UNDELETABLE)
    # Each row was tried, for 2 ms and more.
    assert report.rested >= 2 * 100 * 0.002


async def test_a_run_that_rests_for_long_shows_life(make_retention: EngineFactory, database: Database) -> None:
    await database.before_delete("todos", SLOW)
    # So many share with it that it rests for half a minute after each batch.
    await others_delete(database, 500, "clock_timestamp() + interval '6 s'")
    stop = asyncio.Event()
    shown: set[object] = set()
    mine = "SELECT heartbeat_at FROM retention_runs WHERE run_id = 'mine'"
    async with somebody_busy(database):
        retention = make_retention(pace="gentle", batch_rows=20, takeover_after=6)
        run = asyncio.create_task(retention.run(completed_todos(ScanKind.PAGES), run_id="mine", stop=stop))

        async def has_deleted() -> bool:
            return await database.count("todos WHERE is_completed") < 500

        await eventually(has_deleted)
        left = await database.count("todos WHERE is_completed")

        async def shows_life() -> bool:
            shown.add(await database.value(mine))
            return len(shown) >= 2

        await eventually(shows_life)
        assert await database.count("todos WHERE is_completed") == left, "it rests"
        stop.set()
        report = await run
    assert report.stopped is StopReason.STOPPED


async def test_a_run_does_not_rest_when_it_has_done_what_it_may(
    make_retention: EngineFactory, database: Database
) -> None:
    await others_delete(database, 40, "clock_timestamp() + interval '15 s'")
    await database.execute("DELETE FROM todos WHERE NOT is_completed")
    async with somebody_busy(database):
        report = await make_retention(pace="gentle").run(completed_todos(ScanKind.KEY), limits=RunLimits(rows=20))
    assert (report.deleted, report.stopped, report.rested) == (20, StopReason.ROW_LIMIT, 0)


async def test_a_rest_ends_with_the_time_that_a_run_may_take(make_retention: EngineFactory, database: Database) -> None:
    await database.before_delete("todos", SLOW)
    await others_delete(database, 400, "clock_timestamp() + interval '15 s'")
    async with somebody_busy(database):
        retention = make_retention(pace="gentle", batch_rows=20)
        # A rest of a minute.
        report = await asyncio.wait_for(
            retention.run(completed_todos(ScanKind.PAGES), limits=RunLimits(seconds=1)), timeout=30
        )
    assert report.stopped is StopReason.TIME_BUDGET
