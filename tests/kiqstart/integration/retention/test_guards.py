"""What comes to keep rows from going, or to take others along, in the middle of a run."""

import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import ProgressCallback, RetentionProgress
from kiqstart.retention.report import RetentionReport, StopReason

pytestmark = pytest.mark.usefixtures("completed", "every_batch_is_reported")

RULE = "CREATE RULE keep AS ON DELETE TO todos DO INSTEAD NOTHING"


def after_some_batches(database: Database, *statements: str) -> ProgressCallback:
    """Run statements once, when some rows are gone and others are left."""
    left = list(statements)

    async def watch(progress: RetentionProgress) -> None:
        if progress.deleted >= 100:
            for statement in left:
                await database.execute(statement)
            left.clear()

    return watch


@pytest.fixture
def retention(make_retention: EngineFactory) -> RetentionEngine:
    return make_retention(batch_rows=50, batch_seconds=5, locked_wait=0.3)


def keep_each_fourth(database: Database) -> list[str]:
    database.drop_after[:0] = ["DROP TRIGGER keep ON todos", "DROP FUNCTION keep"]
    body = "BEGIN IF OLD.id % 4 = 0 THEN RETURN NULL; END IF; RETURN OLD; END"
    return [
        f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER keep BEFORE DELETE ON todos FOR EACH ROW EXECUTE FUNCTION keep()",
    ]


async def check_that_what_stays_is_told(database: Database, report: RetentionReport) -> None:
    kept = await database.count("todos WHERE is_completed")
    assert (report.deleted, report.failed, report.stopped) == (500 - kept, kept, StopReason.END)
    assert (kept > 100, report.notes) == (True, (f"{kept} rows cannot be deleted: trigger 'keep' keeps the row",))


@BOTH_SCANS
async def test_a_trigger_that_keeps_rows_is_noticed_though_it_came_later(
    retention: RetentionEngine, database: Database, scan: ScanKind
) -> None:
    later = after_some_batches(database, *keep_each_fourth(database))
    await check_that_what_stays_is_told(database, await retention.run(completed_todos(scan), progress=later))


@BOTH_SCANS
async def test_a_trigger_that_is_enabled_later_is_noticed(
    retention: RetentionEngine, database: Database, scan: ScanKind
) -> None:
    await database.execute(*keep_each_fourth(database), "ALTER TABLE todos DISABLE TRIGGER keep")
    later = after_some_batches(database, "ALTER TABLE todos ENABLE TRIGGER keep")
    await check_that_what_stays_is_told(database, await retention.run(completed_todos(scan), progress=later))


@BOTH_SCANS
async def test_a_rule_that_does_nothing_instead_ends_the_run_though_it_came_later(
    retention: RetentionEngine, database: Database, scan: ScanKind
) -> None:
    database.drop_after[:0] = ["DROP RULE keep ON todos"]
    with pytest.raises(PolicyError, match="rule 'keep' does something else instead"):
        await retention.run(completed_todos(scan), progress=after_some_batches(database, RULE))


@BOTH_SCANS
async def test_a_reference_that_came_later_takes_no_row_along_that_is_not_the_policys(
    retention: RetentionEngine, database: Database, scan: ScanKind
) -> None:
    await database.execute("ALTER TABLE todos ADD COLUMN parent_id bigint", "UPDATE todos SET parent_id = id + 1")
    await database.execute("UPDATE todos SET parent_id = NULL WHERE parent_id NOT IN (SELECT id FROM todos)")
    database.drop_after[:0] = ["ALTER TABLE todos DROP COLUMN parent_id"]
    later = after_some_batches(
        database,
        "UPDATE todos SET parent_id = NULL WHERE parent_id NOT IN (SELECT id FROM todos)",
        "ALTER TABLE todos ADD FOREIGN KEY (parent_id) REFERENCES todos ON DELETE CASCADE",
    )
    report = await retention.run(completed_todos(scan), progress=later)
    assert await database.count("todos WHERE NOT is_completed") == 500
    assert await database.count("todos WHERE is_completed") == report.failed > 100
