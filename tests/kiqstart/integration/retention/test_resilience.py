"""What the world around a run does to it: killers, silence, clocks, and the defaults of others."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker, create_async_engine
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.faults.cutting_proxy import cutting_proxy
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.kiqstart.integration.retention.test_pacing import Busy
from tests.kiqstart.integration.retention.test_undeletable import counting, tries
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.index_scan import IndexScan
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.scan import Cut, Interval
from kiqstart.retention.transaction import Limits, transaction
from kiqstart.testing import eventually

pytestmark = pytest.mark.usefixtures("completed")


@BOTH_SCANS
async def test_a_batch_that_always_loses_its_connection_ends_the_run(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await counting(database, "IF OLD.id = 700 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;")
    # The sequence's last steps are lost with the connection, which counts as many again.
    with pytest.raises((DBAPIError, OSError)):
        await make_retention(reconnect_wait=1.5, batch_rows=100).run(completed_todos(scan), run_id="one")
    assert await tries(database) <= 2_000
    await database.execute("DROP TRIGGER refuse ON todos")
    assert (await make_retention().run(completed_todos(scan), run_id="one")).deleted == 500


async def test_an_index_in_which_the_next_row_is_not_found_in_time_is_left_for_the_pages(
    make_retention: EngineFactory,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    find, looks = IndexScan.advance, list[int]()

    async def find_slowly(self: IndexScan, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        if interval.lines is None:
            looks.append(rows)
            await connection.execute(text("SELECT pg_sleep(60)"))
        return await find(self, connection, interval, rows)

    monkeypatch.setattr(IndexScan, "advance", find_slowly)
    caplog.set_level("INFO", "kiqstart.retention")
    report = await make_retention(batch_seconds=0.05).run(completed_todos(ScanKind.KEY))
    assert (report.deleted, report.stopped, report.scan) == (500, StopReason.END, ScanKind.KEY)
    assert looks == [5_000, 1_000]
    assert "todos: goes on along the heap's pages: the next row of the index is not found in time" in caplog.messages
    assert await database.count("todos WHERE is_completed") == 0


async def test_a_scan_along_an_index_of_other_rows_changes_to_the_pages(
    make_retention: EngineFactory, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    # Never analysed, so nobody knows how few they are.
    await database.execute(
        "UPDATE todos SET is_completed = false, completed_at = NULL WHERE id BETWEEN 10 AND 990",
        "INSERT INTO todos (user_id, title, is_completed) SELECT min(user_id), 'more', false FROM todos, "
        "generate_series(1, 20000) GROUP BY generate_series",
    )
    caplog.set_level("INFO", "kiqstart.retention")
    report = await make_retention(pace="full", batch_seconds=5, batch_rows=500).run(completed_todos(ScanKind.KEY))
    assert (report.deleted, report.stopped) == (9, StopReason.END)
    assert any("were not to go" in message for message in caplog.messages)
    # Each looks at four times as many as the last.
    assert report.batches <= 12


@BOTH_SCANS
async def test_a_cancellation_ends_though_the_network_is_silent(
    database_url: str, database: Database, scan: ScanKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_settings(database_url).parsed_url().url
    async with cutting_proxy(url, lambda _: None) as (proxy, proxied):
        pool = create_async_engine(proxied, pool_pre_ping=True)

        async def fall_silent(_: RetentionProgress) -> None:
            proxy.bytes_per_second = 0

        # For an answer it would wait for ever.
        monkeypatch.setattr(Limits, "answer", 1e6)
        retention = EngineFactory(async_sessionmaker(pool))(batch_rows=100)
        run = asyncio.create_task(retention.run(completed_todos(scan), run_id="one", progress=fall_silent))

        async def is_silent() -> bool:
            return proxy.bytes_per_second == 0

        await eventually(is_silent)
        # Into the next batch, of which no answer comes.
        await asyncio.sleep(0.2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        proxy.bytes_per_second = None
        await pool.dispose()
    assert 0 < await database.count("todos WHERE is_completed") < 500


async def test_a_server_that_does_not_answer_is_hung_up_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.retention.transaction._SECONDS_TO_ANSWER", 0.5)
    url = database_settings(database_url).parsed_url().url
    async with cutting_proxy(url, lambda _: None) as (proxy, proxied):
        pool = create_async_engine(proxied)
        with pytest.raises((DBAPIError, OSError)):  # noqa: PT012 - what is silent is silent within
            async with (
                asyncio.timeout(HANG),
                transaction(async_sessionmaker(pool), Limits(statement=0.1)) as connection,
            ):
                proxy.bytes_per_second = 0
                await connection.execute(text("SELECT 1"))
        proxy.bytes_per_second = None
        await pool.dispose()


async def test_a_transaction_has_its_own_limits_whatever_the_defaults_are(
    engine: AsyncEngine, database: Database
) -> None:
    name = await database.value("SELECT quote_ident(current_database())")
    defaults = {
        "default_transaction_isolation": "serializable",
        "statement_timeout": "900ms",
        "lock_timeout": "5ms",
        "idle_in_transaction_session_timeout": "900ms",
    }
    database.drop_after[:0] = [f"ALTER DATABASE {name} RESET {one}" for one in defaults]
    await database.execute(*(f"ALTER DATABASE {name} SET {one} = '{value}'" for one, value in defaults.items()))
    await engine.dispose()
    sessions = async_sessionmaker(engine)
    asked = ("transaction_isolation", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    async with transaction(sessions) as connection:
        said = [await connection.scalar(text(f"SHOW {one}")) for one in asked]
    assert said == ["read committed", "30s", "10s", "1min"]
    await engine.dispose()


@BOTH_SCANS
async def test_a_clock_that_was_set_back_an_hour_holds_nobody_up(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    retention = make_retention(batch_rows=100)
    first = await retention.run(completed_todos(scan), run_id="one", limits=RunLimits(rows=100))
    # As a worker leaves it that is killed right before.
    await database.execute(
        "UPDATE retention_runs SET owner = gen_random_uuid(), stopped = NULL, row_limit = NULL, "
        "heartbeat_at = now() + interval '1 hour', started_at = now() + interval '1 hour'"
    )
    report = await asyncio.wait_for(retention.run(completed_todos(scan), run_id="one"), HANG)
    assert (first.deleted, report.deleted, report.stopped) == (100, 500, StopReason.END)
    assert report.seconds >= 0


async def test_a_run_that_waits_for_too_long_ends_and_says_for_what(
    make_retention: EngineFactory, database: Database
) -> None:
    retention = make_retention(load=Busy(1000), takeover_after=1, max_wait=1.1)
    report = await retention.run(completed_todos(ScanKind.KEY))
    assert (report.deleted, report.stopped) == (0, StopReason.LOAD)
    assert report.notes[0].startswith("waited ")
    assert report.notes[0].endswith(" s, at last for the night shift")
    again = await make_retention().run(completed_todos(ScanKind.KEY))
    assert (again.deleted, again.stopped, again.notes) == (500, StopReason.END, ())
    assert await database.count("todos WHERE is_completed") == 0


async def test_a_table_that_stays_locked_ends_a_run_after_a_time(
    make_retention: EngineFactory, database: Database
) -> None:
    retention = make_retention(takeover_after=1, max_wait=0.5, lock_timeout=0.01)
    locked = asyncio.Event()
    async with database.engine.connect() as other:

        async def lock(_: RetentionProgress) -> None:
            if not locked.is_set():
                await other.exec_driver_sql("LOCK TABLE todos IN ACCESS EXCLUSIVE MODE")
                locked.set()

        report = await retention.run(completed_todos(ScanKind.PAGES), progress=lock, limits=RunLimits(rows=500))
        await other.rollback()
    assert report.stopped in {StopReason.LOAD, StopReason.ROW_LIMIT}


async def test_a_long_transaction_whose_statements_are_answered_keeps_its_connection(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than all of them take.
    monkeypatch.setattr(Limits, "answer", 1.5)
    async with transaction(async_sessionmaker(engine), Limits(statement=2)) as connection:
        for _ in range(8):
            await connection.execute(text("SELECT pg_sleep(0.25)"))
