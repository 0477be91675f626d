import pytest
import pytest_asyncio
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.tables import Event, Token
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.run_options import RunLimits

ALL_TOKENS = RetentionPolicy(
    name="tokens", model=Token, predicate=Token.note.is_(None), cursor=(Token.expires_at,), scan=ScanKind.KEY
)
ALL_EVENTS = RetentionPolicy(name="events", model=Event, predicate=Event.id > 0, scan=ScanKind.PAGES)

WILL_COME = "tokens: autovacuum will clean up 2,000 dead rows (above its threshold of 1,500)"
WILL_NOT_COME = (
    "tokens: 2,000 dead rows stay until more come: autovacuum begins above 2,000; `VACUUM tokens` frees their room now"
)


@pytest_asyncio.fixture
async def tokens(database: Database) -> None:
    """2,000 tokens, all to be deleted."""
    await database.create(Token, "INSERT INTO tokens (expires_at) SELECT now() FROM generate_series(1, 2000)")


@pytest_asyncio.fixture
async def autovacuum(database: Database) -> None:
    if await database.value("SHOW autovacuum") == "off":
        pytest.skip("autovacuum is off on this server")


@pytest.mark.usefixtures("tokens")
async def test_few_dead_rows_are_not_worth_a_word(retention: RetentionEngine, database: Database) -> None:
    await database.execute("ALTER TABLE tokens SET (autovacuum_enabled = off)")
    assert (await retention.run(ALL_TOKENS, limits=RunLimits(rows=999))).bloat == ()
    assert (await retention.run(ALL_TOKENS)).bloat != ()


@pytest.mark.usefixtures("tokens")
async def test_that_autovacuum_is_off_for_the_table_is_said(retention: RetentionEngine, database: Database) -> None:
    await database.execute("ALTER TABLE tokens SET (autovacuum_enabled = off)")
    assert (await retention.run(ALL_TOKENS)).bloat == (
        "tokens: autovacuum is off, so 2,000 dead rows stay until you run `VACUUM tokens`",
    )


@pytest.mark.usefixtures("tokens")
async def test_that_autovacuum_is_off_on_the_server_is_said(retention: RetentionEngine, database: Database) -> None:
    if await database.value("SHOW autovacuum") == "on":
        pytest.skip("autovacuum is on on this server")
    (said,) = (await retention.run(ALL_TOKENS)).bloat
    assert said.startswith("tokens: autovacuum is off")


@pytest.mark.usefixtures("autovacuum", "tokens")
@pytest.mark.parametrize(("threshold", "said"), [(1500, WILL_COME), (2000, WILL_NOT_COME)])
async def test_whether_autovacuum_will_come_is_said(
    retention: RetentionEngine, database: Database, threshold: int, said: str
) -> None:
    await database.execute(
        f"ALTER TABLE tokens SET (autovacuum_vacuum_threshold = {threshold}, autovacuum_vacuum_scale_factor = 0)"
    )
    assert (await retention.run(ALL_TOKENS)).bloat == (said,)


@pytest.mark.usefixtures("autovacuum", "tokens")
async def test_the_threshold_grows_with_the_table(retention: RetentionEngine, database: Database) -> None:
    await database.execute(
        "ANALYZE tokens",
        "ALTER TABLE tokens SET (autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.5)",
    )
    (said,) = (await retention.run(ALL_TOKENS)).bloat
    assert "above its threshold of 1,100" in said


async def test_partitions_are_told_apart(retention: RetentionEngine, database: Database) -> None:
    # The first has 1,500 dead rows, the second 500.
    await database.create(
        Event,
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "ALTER TABLE events_1 SET (autovacuum_enabled = off)",
        "INSERT INTO events SELECT n, CASE WHEN n <= 1500 THEN date '2026-01-10' ELSE '2026-02-10' END, 'x'"
        " FROM generate_series(1, 2000) n",
    )
    await retention.run(ALL_EVENTS, run_id="one")
    # A process of the server counts its dead rows for all once a second, or when it ends.
    await database.engine.dispose()
    report = await retention.report(ALL_EVENTS, "one")
    assert report is not None
    assert report.bloat == ("events_1: autovacuum is off, so 1,500 dead rows stay until you run `VACUUM events_1`",)


@pytest.mark.usefixtures("tokens")
async def test_a_transaction_that_is_older_than_the_run_is_named(
    retention: RetentionEngine, database: Database
) -> None:
    async with database.engine.connect() as old, database.engine.connect() as young:
        pids = list[object]()
        for connection in (old, young):
            await connection.execution_options(isolation_level="REPEATABLE READ")
        pids.append((await old.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())

        async def begin(_: RetentionProgress) -> None:
            if len(pids) == 1:
                pids.append((await young.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())

        report = await retention.run(ALL_TOKENS, progress=begin)
    holders = [said for said in report.bloat if "keeps dead rows from being cleaned up" in said]
    assert len(holders) == 1
    assert holders[0].startswith(f"until it ends, a transaction of process {pids[0]}, open for 00:00:")
    # With nobody in its way there is nothing to say.
    again = await retention.report(ALL_TOKENS, report.run_id)
    assert again is not None
    assert again.bloat == tuple(said for said in report.bloat if said not in holders)


@pytest.mark.usefixtures("tokens")
async def test_a_prepared_transaction_is_named(make_retention: EngineFactory, database: Database) -> None:
    if await database.value("SHOW max_prepared_transactions") == "0":
        pytest.skip("max_prepared_transactions is 0 on this server")
    name = str(await database.value("SELECT 'it''s ' || current_database()"))
    quoted = name.replace("'", "''")
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("INSERT INTO tokens (expires_at, note) VALUES (now(), 'kept')")
        await connection.exec_driver_sql(f"PREPARE TRANSACTION '{quoted}'")
    try:
        report = await make_retention().run(ALL_TOKENS)
    finally:
        await database.alone(f"ROLLBACK PREPARED '{quoted}'")
    assert f"until it ends, the prepared transaction '{quoted}' keeps dead rows from being cleaned up" in report.bloat
