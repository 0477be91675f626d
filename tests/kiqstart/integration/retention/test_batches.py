from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos, expired_sessions
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.user.models import User

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def insert_session(user: User, name: str, expires_at: datetime) -> str:
    return (
        "INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at) VALUES "  # noqa: S608 - the test's own
        f"({user.id}, sha256('{name}'), '2020-01-01 00:00:00+00', '{expires_at.isoformat()}')"
    )


async def test_the_cutoff_itself_is_kept(retention: RetentionEngine, user: User, database: Database) -> None:
    for name, offset in {"before": -1, "at": 0, "after": 1}.items():
        await database.execute(insert_session(user, name, NOW + timedelta(microseconds=offset)))
    report = await retention.run(RefreshSessionRepository().expired_policy(NOW))
    assert report.deleted == 1
    assert await database.count("refresh_sessions WHERE refresh_token_hash = sha256('before')") == 0
    assert await database.count("refresh_sessions") == 2


@pytest.mark.usefixtures("expired")
@pytest.mark.parametrize(("size", "batches"), [(50, 10), (499, 2), (500, 1), (501, 1)])
async def test_key_batches_hold_as_many_rows_as_they_may(
    make_retention: EngineFactory, database: Database, size: int, batches: int
) -> None:
    report = await make_retention(batch_rows=size).run(expired_sessions(ScanKind.KEY))
    assert (report.deleted, report.batches) == (500, batches)
    left = "refresh_sessions WHERE expires_at > now()"
    assert await database.count("refresh_sessions") == await database.count(left) == 100


@pytest.mark.parametrize("size", [7, 149, 150, 400])
async def test_rows_with_equal_keys_are_cut_into_batches(
    make_retention: EngineFactory, user: User, database: Database, size: int
) -> None:
    # 40 at each of two moments, with one row before, between and after them.
    await database.execute(
        f"""
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), '2020-01-01 00:00:00+00',
               timestamptz '2026-01-01 00:00:00+00' + CASE WHEN n = 0 THEN 0 WHEN n <= 40 THEN 1 WHEN n = 41 THEN 2
                   WHEN n <= 81 THEN 3 ELSE 4 END * interval '1 day'
        FROM generate_series(0, 82) n
        """  # noqa: S608 - the test's own
    )
    report = await make_retention(pace="full", batch_rows=size).run(expired_sessions(ScanKind.KEY, NOW))
    assert report.deleted == 83
    # A batch ends between two values, where it can.
    assert -(-83 // size) <= report.batches <= -(-83 // size) + 4
    assert await database.count("refresh_sessions") == 0


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("pages", [1, 3, 1000])
async def test_page_batches_hold_as_many_pages_as_have_so_many_rows(
    make_retention: EngineFactory, database: Database, pages: int
) -> None:
    size = "generate_series(1, pg_relation_size('todos') / current_setting('block_size')::int)"
    all_pages = await database.count(size)
    assert all_pages > 5
    report = await make_retention(batch_rows=pages * 1000 // all_pages).run(completed_todos(ScanKind.PAGES))
    # Each second row goes, so that the next batches look at up to twice as many.
    assert report.deleted == 500
    assert -(-all_pages // (2 * pages)) <= report.batches <= -(-all_pages // pages)
    assert await database.count("todos") == await database.count("todos WHERE NOT is_completed") == 500


@BOTH_SCANS
async def test_an_empty_table_is_done_at_once(retention: RetentionEngine, scan: ScanKind) -> None:
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    report = await retention.run(completed_todos(scan), progress=watch)
    assert (report.deleted, report.batches, report.stopped) == (0, 0, StopReason.END)
    assert [(progress.deleted, progress.fraction) for progress in seen] == [(0, 1.0)]


@pytest.mark.usefixtures("completed", "every_batch_is_reported")
@BOTH_SCANS
async def test_a_run_ends_though_rows_keep_coming(
    make_retention: EngineFactory, user: User, database: Database, scan: ScanKind
) -> None:

    async def insert_more(_: RetentionProgress) -> None:
        await database.execute(
            "INSERT INTO todos (user_id, title, is_completed, completed_at) "  # noqa: S608 - the test's own
            f"SELECT {user.id}, repeat('long', 100), true, now() FROM generate_series(1, 40)"
        )

    report = await make_retention(batch_rows=100).run(completed_todos(scan), progress=insert_more)
    # The last page may have had room for some of the new rows.
    assert 500 <= report.deleted <= (500 if scan is ScanKind.KEY else 540)
    assert await database.count("todos WHERE is_completed AND title LIKE 'todo%'") == 0


@pytest.mark.usefixtures("expired", "every_batch_is_reported")
@BOTH_SCANS
async def test_progress_rises_to_one(make_retention: EngineFactory, database: Database, scan: ScanKind) -> None:
    await database.execute("ANALYZE refresh_sessions")
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    report = await make_retention(batch_rows=20).run(expired_sessions(scan), progress=watch)
    fractions = [progress.fraction for progress in seen]
    assert len(seen) == report.batches + 1
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.5
    assert fractions[len(fractions) // 2] == pytest.approx(0.5, abs=0.2)
    assert [one.deleted for one in seen] == sorted(one.deleted for one in seen)
    assert all(450 <= one.total <= 550 and one.rate == one.deleted / one.seconds for one in seen)
    assert all(one.eta == (one.total - one.deleted) / one.rate for one in seen)
    assert (seen[-1].fraction, seen[-1].deleted, seen[-1].total, seen[-1].eta) == (1.0, 500, 500, 0.0)


@pytest.mark.usefixtures("expired", "completed")
@BOTH_SCANS
async def test_a_failing_watcher_ends_the_run_and_the_next_goes_on(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    class UnwatchableError(Exception):
        pass

    async def fail(_: RetentionProgress) -> None:
        raise UnwatchableError

    retention = make_retention(batch_rows=100)
    with pytest.raises(UnwatchableError):
        await retention.run(completed_todos(scan), run_id="watched", progress=fail)
    left = await database.count("todos WHERE is_completed")
    assert 0 < left < 500
    report = await retention.run(completed_todos(scan), run_id="watched")
    assert (report.deleted, await database.count("todos WHERE is_completed")) == (500, 0)


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("usual", ["on", "local"])
async def test_batches_do_not_wait_for_the_disk_and_the_runs_end_waits_as_the_role_does(
    database: Database, database_url: str, usual: str
) -> None:
    database.drop_after.extend(["DROP FUNCTION IF EXISTS notice CASCADE", "DROP TABLE IF EXISTS commits"])
    await database.execute(
        "CREATE TABLE commits (waits text, stopped text)",
        "CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO commits VALUES (current_setting('synchronous_commit'), NEW.stopped); RETURN NULL; END $$",
        "CREATE TRIGGER notice AFTER UPDATE ON retention_runs FOR EACH ROW EXECUTE FUNCTION notice()",
    )
    engine = create_async_engine(
        database_settings(database_url).parsed_url().url,
        connect_args={"server_settings": {"synchronous_commit": usual}},
    )
    try:
        await EngineFactory(async_sessionmaker(engine))(batch_rows=100).run(completed_todos(ScanKind.KEY))
    finally:
        await engine.dispose()
    assert await database.count("commits WHERE stopped IS NULL AND waits = 'off'") >= 5
    assert await database.value(
        "SELECT string_agg(waits || ' ' || stopped, ', ') FROM commits WHERE waits <> 'off'"
    ) == (f"{usual} end")


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
@pytest.mark.parametrize("moment", ["BEFORE", "AFTER"])
async def test_what_triggers_ask_for_each_row_is_not_planned_anew_for_each(
    make_retention: EngineFactory, database: Database, scan: ScanKind, moment: str
) -> None:
    # Those of foreign keys are such triggers.
    database.drop_after.extend(["DROP FUNCTION IF EXISTS notice CASCADE", "DROP TABLE IF EXISTS modes"])
    await database.execute(
        "CREATE TABLE modes (mode text)",
        "CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO modes VALUES (current_setting('plan_cache_mode')); RETURN OLD; END $$",
        f"CREATE TRIGGER notice {moment} DELETE ON todos FOR EACH ROW EXECUTE FUNCTION notice()",
    )
    report = await make_retention(batch_rows=100).run(completed_todos(scan))
    assert report.deleted == 500
    assert await database.value("SELECT string_agg(DISTINCT mode, ' ') || ' ' || count(*) FROM modes") == "auto 500"
