"""Connections that are lost in the middle of a run: it goes on, and counts exactly what PostgreSQL has committed."""

import asyncio

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.faults.cutting_proxy import Cut, cutting_proxy
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.tables import expired, fill, rows_left
from tests.service import database_settings

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import RetentionReport, StopReason

# Nobody comes to take over in so short a time.


@pytest.fixture
def url(database_url: str) -> URL:
    return database_settings(database_url).parsed_url().url


async def run_through(url: URL, *, run_id: str, batch_rows: int = 10, scan: ScanKind = ScanKind.KEY) -> RetentionReport:
    pool = create_async_engine(url, pool_pre_ping=True)
    try:
        async with asyncio.timeout(HANG):
            retention = retention_engine(async_sessionmaker(pool), quick_settings(batch_rows=batch_rows))
            return await retention.run(expired(scan=scan), run_id=run_id)
    finally:
        await pool.dispose()


@pytest.mark.parametrize("lost", list(Cut))
async def test_whichever_commit_the_connection_is_lost_in(tables: AsyncEngine, url: URL, lost: Cut) -> None:
    number, cuts = 0, 1
    while cuts:
        number += 1
        async with tables.begin() as connection:
            await connection.execute(text("TRUNCATE int_entries, int_references"))
            await fill(connection, expired=25, kept=5)
            before = await rows_left(connection)

        def is_lost(commit: int, chosen: int = number) -> Cut | None:
            return lost if commit == chosen else None

        async with cutting_proxy(url, is_lost) as (proxy, proxied):
            report = await run_through(proxied, run_id=f"loses commit {number}")
        cuts = proxy.cuts

        assert (report.deleted, report.failed, report.skipped, report.stopped) == (25, 0, 0, StopReason.END), number
        async with tables.connect() as connection:
            assert await rows_left(connection) == {key: row for key, row in before.items() if row[0] >= 100}
    # Opening, taking a shard, asking for the load, three batches, ending, looking for others, letting go, the report.
    assert number > 9


@pytest.mark.parametrize("scan", list(ScanKind))
async def test_every_fourth_commit_is_lost_or_its_answer_is(tables: AsyncEngine, url: URL, scan: ScanKind) -> None:
    async with tables.begin() as connection:
        await fill(connection, expired=200, kept=50)

    def is_lost(commit: int) -> Cut | None:
        return {3: Cut.ANSWER, 7: Cut.COMMIT}.get(commit % 8)

    async with cutting_proxy(url, is_lost) as (proxy, proxied):
        report = await run_through(proxied, run_id="unlucky", batch_rows=5, scan=scan)

    assert (report.deleted, report.stopped) == (200, StopReason.END)
    assert proxy.cuts >= 10
    assert report.waited > 0
    async with tables.connect() as connection:
        assert len(await rows_left(connection)) == 50
