"""Whole partitions that expire: what goes, and what never does."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import ColumnElement, text
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.shapes import SHAPES
from tests.kiqstart.integration.retention.tables import Event, Token
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import PartitionAction, RetentionPolicy, ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.testing import eventually
from todo_service.infrastructure.database.engine import create_engine, create_session_factory

EVENTS = SHAPES["partitioned, cursor on time"]
CUTOFF = datetime(2026, 1, 11, tzinfo=UTC)
LEFT = """
SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text COLLATE "C")
FROM pg_inherits WHERE inhparent = 'events'::regclass
"""
# Without the default partition, which may have rows of any time.
READ_OF_LATER_ONES = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
WHERE relname IN ('events_4', 'events_7', 'events_10')
"""


def policy(
    action: PartitionAction = PartitionAction.DROP, predicate: ColumnElement[bool] = Event.at < CUTOFF
) -> RetentionPolicy:
    return replace(EVENTS.policy(None), predicate=predicate, partitions=action)


@pytest.mark.parametrize("action", PartitionAction)
async def test_partitions_before_the_limit_go_whole_and_the_rows_of_the_next_in_batches(
    retention: RetentionEngine, database: Database, action: PartitionAction
) -> None:
    await database.fill(EVENTS)
    # Empty, and for later: not expired, although none of its rows is to be kept.
    await database.execute(
        "CREATE TABLE events_13 PARTITION OF events FOR VALUES FROM ('2026-01-20') TO ('2026-01-23')",
        "ANALYZE events",
    )
    database.drop_after.append("DROP TABLE IF EXISTS events_1, events_4, events_7")
    kept = await database.rows(Event, Event.at >= CUTOFF)
    report = await retention.run(policy(action))
    assert report.partitions == tuple(f"events_{day} (about {rows} rows)" for day, rows in ((1, 71), (4, 72), (7, 72)))
    # The tenth of January is in the partition that also has the days after.
    assert (report.deleted, report.stopped) == (24, StopReason.END)
    assert await database.rows(Event) == kept
    assert await database.value(LEFT) == "events_10 events_13 events_rest"
    detached = [await database.value(f"SELECT to_regclass('events_{day}') IS NOT NULL") for day in (1, 4, 7)]
    assert detached == [action is PartitionAction.DETACH] * 3
    again = await retention.run(policy(action))
    assert (again.partitions, again.deleted) == ((), 0)


async def test_a_partition_with_a_row_that_is_to_stay_stays(retention: RetentionEngine, database: Database) -> None:
    await database.fill(EVENTS)
    kept = await database.rows(Event, (Event.at >= CUTOFF) | (Event.id == 100))
    report = await retention.run(policy(predicate=(Event.at < CUTOFF) & (Event.id != 100)))
    assert [one.partition(" ")[0] for one in report.partitions] == ["events_1", "events_7"]
    assert report.deleted == 24 + 71
    assert await database.rows(Event) == kept


async def test_a_row_that_is_written_meanwhile_is_seen(make_retention: EngineFactory, database: Database) -> None:
    await database.fill(EVENTS)
    retention = make_retention(locked_wait=20, lock_timeout=0.5)
    async with database.engine.connect() as other:
        await other.execute(text("INSERT INTO events (id, at, body) VALUES (1000, '2026-01-02', 'kept')"))
        predicate = (Event.at < CUTOFF) & (Event.body != "kept")
        run = asyncio.create_task(retention.run(policy(predicate=predicate)))

        async def waits() -> bool:
            return await database.waiting_for_locks() > 0

        await eventually(waits)
        await other.commit()
        report = await run
    assert [one.partition(" ")[0] for one in report.partitions] == ["events_4", "events_7"]
    assert (report.deleted, await database.count("events WHERE id = 1000")) == (24 + 71, 1)


async def test_a_partition_that_somebody_reads_or_needs_is_emptied_in_batches(
    make_retention: EngineFactory, database: Database
) -> None:
    await database.fill(EVENTS)
    await database.execute("CREATE VIEW watched AS SELECT * FROM events_4")
    database.drop_after.append("DROP VIEW watched")
    async with database.engine.connect() as other:
        await other.execute(text("SELECT FROM events_1 LIMIT 1"))
        report = await make_retention(locked_wait=0.2).run(policy())
        await other.rollback()
    assert [one.partition(" ")[0] for one in report.partitions] == ["events_7"]
    assert (report.deleted, report.stopped) == (24 + 71 + 72, StopReason.END)
    assert await database.value(LEFT) == "events_1 events_10 events_4 events_rest"


async def test_a_row_limit_is_kept_by_leaving_partitions_alone(retention: RetentionEngine, database: Database) -> None:
    await database.fill(EVENTS)
    report = await retention.run(policy(), limits=RunLimits(rows=10))
    assert (report.deleted, report.partitions) == (10, ())
    assert await database.count("events") == 390


@pytest.mark.parametrize(
    ("refused", "problem"),
    [
        (replace(SHAPES["integer key"].policy(None), partitions=PartitionAction.DROP), "is not partitioned by range"),
        (policy(predicate=Event.id < 7), "compare it in the predicate"),
        (policy(predicate=(Event.at < CUTOFF) | (Event.id == 1)), "compare it in the predicate"),
        (replace(policy(), cursor=()), "compare it in the predicate"),
        (replace(policy(), archive=Event), "is the table itself"),
    ],
)
async def test_partitions_that_cannot_expire_are_refused(
    retention: RetentionEngine, database: Database, refused: RetentionPolicy, problem: str
) -> None:
    await database.fill(EVENTS)
    await database.create(Token)
    with pytest.raises(PolicyError, match=problem):
        await retention.check([refused])


async def test_rows_along_the_pages_are_looked_for_only_in_partitions_that_may_have_them(
    database: Database, database_url: str
) -> None:
    await database.fill(EVENTS)
    # What a connection has read is known when it is closed.
    await database.engine.dispose()
    before = await database.value(READ_OF_LATER_ONES)
    old = replace(EVENTS.policy(ScanKind.PAGES), predicate=Event.at < datetime(2026, 1, 3, tzinfo=UTC))
    pool = create_engine(database_settings(database_url))
    report = await EngineFactory(create_session_factory(pool))().run(old)
    await asyncio.gather(pool.dispose(), database.engine.dispose())
    assert (report.deleted, report.stopped) == (47, StopReason.END)
    assert await database.value(READ_OF_LATER_ONES) == before
