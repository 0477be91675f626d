"""Deadlocks, failed serialisations, cancelled statements and locks on what hangs on a row."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from sqlalchemy import URL, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.run_store import RUN, counted, wait_until_counted
from tests.kiqstart.integration.retention.faults.tables import IntEntry, expired, fill, rows_left
from tests.service import database_settings

from kiqstart.retention.report import RetentionReport, StopReason
from kiqstart.testing import eventually

GATE = 4711
POLICY = expired(cursor=(IntEntry.id,))
LOCK = text("SELECT FROM int_entries WHERE id = ANY(CAST(:ids AS int[])) FOR UPDATE")
WAITS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'retention' AND wait_event_type = 'Lock'
""")
WAITING = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")
CANCEL = text("""
    SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'retention'
""")


@pytest.fixture
def url(database_url: str) -> URL:
    return database_settings(database_url).parsed_url().url


async def run(url: URL, *, server: dict[str, str] | None = None, **settings: float) -> RetentionReport:
    """Run the policy on sessions with those settings of the server."""
    pool = create_async_engine(
        url, connect_args={"server_settings": {"application_name": "retention", **(server or {})}}
    )
    try:
        return await retention_engine(async_sessionmaker(pool), quick_settings(**settings)).run(POLICY, run_id=RUN)
    finally:
        await pool.dispose()


@pytest_asyncio.fixture
async def filled(tables: AsyncEngine) -> AsyncEngine:
    """The tables with 300 rows to delete and 50 to keep."""
    async with tables.begin() as connection:
        await fill(connection, expired=300, kept=50)
    return tables


async def expired_ids(pool: AsyncEngine) -> list[int]:
    async with pool.connect() as connection:
        return sorted(key for key, row in (await rows_left(connection)).items() if row[0] < 100)


async def wait_until_blocked(pool: AsyncEngine, waiting: TextClause = WAITS, sessions: int = 1) -> None:
    async def is_blocked() -> bool:
        async with pool.connect() as connection:
            found: int = await connection.scalar(waiting)
            return found >= sessions

    await eventually(is_blocked)


@pytest_asyncio.fixture
async def gate(filled: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """Whoever deletes the fourth row waits there until this connection ends its transaction."""
    fourth = (await expired_ids(filled))[3]
    async with filled.begin() as connection:
        body = f"BEGIN IF OLD.id = {fourth} THEN PERFORM pg_advisory_xact_lock({GATE}); END IF; RETURN OLD; END"
        await connection.execute(text(f"CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"))
        await connection.execute(
            text("CREATE TRIGGER pass BEFORE DELETE ON int_entries FOR EACH ROW EXECUTE FUNCTION pass()")
        )
    async with filled.connect() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({GATE})"))
        yield connection
    async with filled.begin() as connection:
        await connection.execute(text("DROP FUNCTION pass CASCADE"))


async def test_the_run_gives_way_in_a_deadlock(filled: AsyncEngine, gate: AsyncConnection, url: URL) -> None:
    ids = await expired_ids(filled)
    async with filled.connect() as writer:
        # Whoever looks for deadlocks finds this one, and is rolled back: the run, which comes to wait last.
        await writer.execute(text("SET LOCAL deadlock_timeout = '600s'"))
        await writer.execute(LOCK, {"ids": [ids[5]]})
        patient = {"lock_timeout": 10.0, "batch_seconds": 10.0, "locked_wait": 10.0}
        task = asyncio.create_task(run(url, server={"deadlock_timeout": "10ms"}, **patient))
        await wait_until_blocked(filled)
        waits_for_the_run = asyncio.create_task(writer.execute(LOCK, {"ids": [ids[0]]}))
        await wait_until_blocked(filled, WAITING, sessions=2)
        await gate.rollback()
        await waits_for_the_run
        await wait_until_counted(filled, 298)
        assert await expired_ids(filled) == [ids[0], ids[5]]
        await writer.commit()

    report = await task

    assert (report.deleted, report.skipped, report.failed) == (300, 0, 0)
    assert await expired_ids(filled) == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_what_cannot_be_serialised_is_done_again(filled: AsyncEngine, url: URL, isolation: str) -> None:
    ids = await expired_ids(filled)
    async with filled.connect() as writer:
        await writer.execute(text("UPDATE int_entries SET expires_at = 500 WHERE id = :id"), {"id": ids[4]})
        await writer.execute(text("UPDATE int_entries SET note = 'changed' WHERE id = :id"), {"id": ids[5]})
        server = {"default_transaction_isolation": isolation}
        task = asyncio.create_task(run(url, server=server, lock_timeout=10.0, batch_seconds=10.0, locked_wait=5.0))
        await wait_until_blocked(filled)
        await writer.commit()

    report = await task

    assert (report.deleted, report.skipped, report.failed, report.stopped) == (299, 0, 0, StopReason.END)
    assert await expired_ids(filled) == []
    async with filled.connect() as connection:
        assert ids[4] in await rows_left(connection)


async def test_a_batch_that_somebody_cancels_is_done_again(filled: AsyncEngine, url: URL) -> None:
    async with filled.connect() as other:
        await other.execute(LOCK, {"ids": (await expired_ids(filled))[100:101]})
        task = asyncio.create_task(run(url, lock_timeout=10.0, batch_seconds=10.0))
        for _ in range(3):
            await wait_until_blocked(filled)
            async with filled.connect() as connection:
                await connection.execute(CANCEL)
        await wait_until_blocked(filled)
        await other.rollback()

    report = await task

    assert (report.deleted, report.skipped, report.failed, report.stopped) == (300, 0, 0, StopReason.END)


@pytest_asyncio.fixture
async def parents(filled: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """Every row has a child, which is deleted with it."""
    async with filled.begin() as connection:
        await connection.execute(
            text("CREATE TABLE children (id int PRIMARY KEY REFERENCES int_entries ON DELETE CASCADE)")
        )
        await connection.execute(text("INSERT INTO children SELECT id FROM int_entries"))
    yield filled
    async with filled.begin() as connection:
        await connection.execute(text("DROP TABLE children"))


@pytest.mark.parametrize("is_released_in_time", [True, False])
async def test_a_row_whose_child_is_locked_costs_only_itself(
    parents: AsyncEngine, url: URL, *, is_released_in_time: bool
) -> None:
    ids = await expired_ids(parents)
    async with parents.connect() as other:
        await other.execute(text("SELECT FROM children WHERE id = :id FOR UPDATE"), {"id": ids[25]})
        task = asyncio.create_task(run(url, lock_timeout=0.02, locked_wait=10.0 if is_released_in_time else 0.0))
        if is_released_in_time:
            await wait_until_counted(parents, 299)
            await other.rollback()
        report = await task

    deleted = 300 if is_released_in_time else 299
    assert (report.deleted, report.skipped, report.errors) == (deleted, 300 - deleted, ())
    assert await counted(parents) == deleted
    assert await expired_ids(parents) == ([] if is_released_in_time else [ids[25]])
    async with parents.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM children")) == 350 - deleted
