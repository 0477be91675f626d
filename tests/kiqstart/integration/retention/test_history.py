from datetime import UTC, datetime, timedelta

import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.operations.retention_policies import ended_at
from kiqstart.retention.errors import RetentionSchemaError, UnreadableRunError
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits


@pytest.mark.usefixtures("completed")
async def test_what_became_of_runs_is_told_newest_first(make_retention: EngineFactory) -> None:
    engine, policy = make_retention(batch_rows=50), completed_todos(ScanKind.PAGES)
    assert await engine.history() == []
    await engine.run(policy, run_id="first", limits=RunLimits(rows=120))
    await engine.run(policy, run_id="second")
    second, first = await engine.history(policy.name)
    assert (first.run_id, first.deleted, first.stopped, first.is_superseded) == (
        "first",
        120,
        StopReason.ROW_LIMIT,
        True,
    )
    assert (second.run_id, second.deleted, second.stopped) == ("second", 380, StopReason.END)
    assert (second.is_running, second.is_superseded, second.failed) == (False, False, 0)
    assert second.batches >= 2
    assert second.started_at is not None
    assert abs(second.started_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [one.run_id for one in await engine.history(limit=1)] == ["second"]
    assert await engine.history("another") == []


@pytest.mark.usefixtures("completed")
async def test_one_whose_worker_is_gone_is_interrupted_and_what_strangers_wrote_is_left_out(
    make_retention: EngineFactory, database: Database
) -> None:
    engine, policy = make_retention(), completed_todos(ScanKind.PAGES)
    await engine.run(policy, run_id="cut")
    await engine.run(policy, run_id="odd")
    await database.execute(
        "UPDATE retention_runs SET stopped = NULL, owner = gen_random_uuid(), heartbeat_at = now() - interval '1 day' "
        "WHERE run_id = 'cut'",
        "UPDATE retention_runs SET state = '[]' WHERE run_id = 'odd'",
    )
    [cut] = await engine.history()
    assert (cut.run_id, cut.stopped, cut.is_running) == ("cut", None, False)
    await database.execute("UPDATE retention_runs SET heartbeat_at = now() WHERE run_id = 'cut'")
    [going_on] = await engine.history()
    assert going_on.is_running


NESTED = "(repeat('[', 1500) || repeat(']', 1500))::jsonb"
WRITTEN_BY_NO_ENGINE = [
    "stopped = 'end', heartbeat_at = 'infinity'",
    "started_at = '-infinity'",
    "started_at = 'infinity', heartbeat_at = 'infinity'",
    f"state = {NESTED}",
    f"state = jsonb_build_object('todo', {NESTED})",
    """state = '{"todo": [], "covers": 1e5000}'""",
    """state = '{"todo": [], "deleted": 1e400}'""",
    """state = '{"todo": [], "failed": -1}'""",
    """state = '{"todo": [], "waited": "nan"}'""",
]


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("columns", WRITTEN_BY_NO_ENGINE)
async def test_what_no_engine_has_written_hides_no_other_run(
    make_retention: EngineFactory, database: Database, columns: str
) -> None:
    engine, policy = make_retention(), completed_todos(ScanKind.PAGES)
    await engine.run(policy, run_id="sound")
    await engine.run(policy, run_id="odd")
    await database.execute(f"UPDATE retention_runs SET {columns} WHERE run_id = 'odd'")  # noqa: S608  # the test's own
    assert [one.run_id for one in await engine.history()] == ["sound"]
    with pytest.raises(UnreadableRunError, match=r"^[^\n]*delete its rows there"):
        await engine.run(policy, run_id="odd")


async def test_a_run_of_all_ages_is_told(make_retention: EngineFactory, database: Database) -> None:
    engine = make_retention()
    await engine.run(completed_todos(ScanKind.PAGES))
    await database.execute("UPDATE retention_runs SET started_at = '4713-01-01 BC', heartbeat_at = '294276-12-31'")
    [old] = await engine.history()
    assert old.started_at is None
    assert old.seconds > 9e12
    assert ended_at(old) is None
    await database.execute("UPDATE retention_runs SET started_at = now()")
    [recent] = await engine.history()
    assert recent.started_at is not None
    assert ended_at(recent) is None


async def test_without_its_tables_it_says_so(make_retention: EngineFactory, database: Database) -> None:
    await database.execute("ALTER TABLE retention_runs RENAME TO hidden")
    database.drop_after.append("ALTER TABLE hidden RENAME TO retention_runs")
    with pytest.raises(RetentionSchemaError):
        await make_retention().history()
