"""Rows that cannot be deleted cost little, are remembered, and do not pass for the end."""

import pytest
from sqlalchemy.exc import DBAPIError
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason

pytestmark = pytest.mark.usefixtures("completed")

COUNT = "PERFORM nextval('tries');"


async def counting(database: Database, body: str) -> None:
    """Add a trigger that counts how often a row is tried, by a sequence, which no rollback takes back."""
    database.drop_after.append("DROP SEQUENCE tries")
    await database.execute("CREATE SEQUENCE tries")
    await database.before_delete("todos", f"{COUNT} {body}")


async def tries(database: Database) -> int:
    return int(str(await database.value("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tries")))


@BOTH_SCANS
async def test_rows_that_cannot_go_are_found_by_trying_each_a_few_times(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await counting(database, "IF OLD.id % 100 = 0 THEN RAISE 'on hold'; END IF;")
    report = await make_retention(pace="full", batch_seconds=5).run(completed_todos(scan))
    assert (report.deleted, report.failed, report.stopped) == (490, 10, StopReason.END)
    assert report.notes[0] == "10 rows cannot be deleted: on hold"
    assert report.batches <= 6
    # As a batch that fails, one by one, and in the statement that deletes them.
    assert await tries(database) <= 3.5 * 500


@BOTH_SCANS
async def test_where_no_row_can_go_the_run_does_not_end_as_if_it_had_deleted(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await counting(database, "RAISE 'on hold';")
    report = await make_retention(pace="full", batch_seconds=5).run(completed_todos(scan))
    assert (report.deleted, report.failed, report.stopped) == (0, 500, StopReason.UNDELETABLE)
    assert report.notes[0] == "500 rows cannot be deleted: on hold"
    # The next run knows them, and says so.
    before = await tries(database)
    again = await make_retention().run(completed_todos(scan))
    assert (again.deleted, again.failed, again.left_alone, again.stopped) == (0, 0, 500, StopReason.UNDELETABLE)
    assert again.notes[0].startswith("500 rows could not be deleted of late")
    assert await tries(database) == before
    # After a time they are tried again.
    await database.execute(
        "DROP TRIGGER refuse ON todos", "UPDATE retention_undeletable SET tried_at = now() - interval '4 days'"
    )
    last = await make_retention().run(completed_todos(scan))
    assert (last.deleted, last.left_alone, last.stopped) == (500, 0, StopReason.END)
    assert await database.count("retention_undeletable") == 0


@BOTH_SCANS
async def test_a_run_that_finds_too_many_ends_and_the_next_goes_on_behind_them(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await database.before_delete("todos", "IF OLD.id <= 600 THEN RAISE 'on hold'; END IF;")
    retention = make_retention(batch_rows=100, max_failures=50)
    report = await retention.run(completed_todos(scan))
    assert (report.stopped, report.failed >= 50) == (StopReason.UNDELETABLE, True)
    runs = 1
    while report.stopped is not StopReason.END:
        report, runs = await retention.run(completed_todos(scan)), runs + 1
        assert report.failed <= 50 + 256
        assert runs < 12
    assert await database.count("todos WHERE is_completed") == report.left_alone == 300


@BOTH_SCANS
@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
async def test_an_error_that_no_row_causes_ends_the_run_at_once(
    make_retention: EngineFactory, database: Database, scan: ScanKind, timing: str
) -> None:
    database.drop_after[:0] = ["DROP TRIGGER closed ON todos", "DROP FUNCTION closed", "DROP SEQUENCE tries"]
    await database.execute(
        "CREATE SEQUENCE tries",
        f"CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {COUNT} RAISE 'closed'; END $$",
        f"CREATE TRIGGER closed {timing} DELETE ON todos EXECUTE FUNCTION closed()",
    )
    with pytest.raises(DBAPIError, match="closed"):
        await make_retention().run(completed_todos(scan))
    assert await tries(database) == 2
    assert await database.count("retention_undeletable") == 0


async def test_rows_that_refer_to_each_other_in_a_refused_batch_go_in_their_order(
    make_retention: EngineFactory, database: Database
) -> None:
    database.drop_after.append("ALTER TABLE todos DROP COLUMN parent")
    await database.execute(
        "ALTER TABLE todos ADD parent bigint REFERENCES todos",
        # Chains of ten, of which a row that stays keeps the first.
        "UPDATE todos SET parent = id - 2 WHERE is_completed AND id <= 200 AND id % 20 <> 2",
        "UPDATE todos SET parent = 20 WHERE id = 1",
    )
    report = await make_retention(pace="full", batch_seconds=5).run(completed_todos(ScanKind.KEY))
    assert (report.deleted, report.failed) == (490, 10)
    assert await database.count("todos WHERE is_completed AND id <= 20") == 10
