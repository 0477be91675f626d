"""Whatever values a cursor has, and whatever PostgreSQL knows of them, a run reads little more than it deletes."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.examples import examples
from tests.kiqstart.integration.retention.tables import Token
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from todo_service.infrastructure.database.engine import create_engine, create_session_factory

CUTOFF: Final = datetime(2026, 6, 1, tzinfo=UTC)
ANOTHER: Final = "INSERT INTO tokens (id, expires_at) OVERRIDING SYSTEM VALUE VALUES (100001, '2027-01-01')"
# A run reads each row to find where a batch ends, to learn where equal ones lie, to delete it, where it changes its
# way, once more, and for a wrong guess, once more; what is left of the rows of a page is read with the next batch.
_READS: Final = 6
_MARGIN: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How many rows each value has, in which order they lie, and what PostgreSQL knows of them.

    Of the expired ones each `each`th is the policy's.
    """

    groups: tuple[int, ...]
    kept: int
    each: int
    order: str
    index: str
    known: str
    batch_rows: int
    scan: ScanKind | None
    meanwhile: str

    @property
    def doomed(self) -> int:
        return sum(self.groups) // self.each

    @property
    def policy(self) -> RetentionPolicy:
        predicate: ColumnElement[bool] = Token.expires_at < CUTOFF
        if self.each > 1:
            predicate &= Token.id % self.each == 0
        return RetentionPolicy(
            name="tokens", model=Token, predicate=predicate, cursor=(Token.expires_at,), scan=self.scan
        )

    @property
    def statements(self) -> list[str]:
        """Fill the empty table."""
        values = ", ".join(f"({number}, {size})" for number, size in enumerate(self.groups))
        fill = (
            "INSERT INTO tokens (id, expires_at) OVERRIDING SYSTEM VALUE SELECT row_number() OVER (ORDER BY g, n), "  # noqa: S608
            "CASE WHEN g < 1000 THEN timestamptz '2026-01-01' + g * interval '1 hour' "
            "ELSE timestamptz '2026-07-01' + n * interval '1 s' END FROM "
            f"(VALUES {values}, (1000, {self.kept})) AS v (g, size), generate_series(1, size) n ORDER BY {self.order}"
        )
        old = (
            "INSERT INTO tokens (expires_at) "
            "SELECT timestamptz '2026-07-01' + n * interval '1 s' FROM generate_series(1, 3000) n"
        )
        known = {
            "never": [fill],
            "now": [fill, "ANALYZE tokens"],
            # As if no row had expired.
            "before": [old, "ANALYZE tokens", "DELETE FROM tokens", fill],
        }
        return [*({"key": ["CREATE INDEX by_key ON tokens (expires_at, id)"]}.get(self.index, [])), *known[self.known]]


distributions = st.builds(
    Distribution,
    groups=st.lists(st.sampled_from([1, 2, 40, 700, 2_500]), min_size=1, max_size=4).map(tuple),
    kept=st.sampled_from([0, 3_000]),
    each=st.sampled_from([1, 1, 2, 500]),
    order=st.sampled_from(["g, n", "md5(g::text || n)"]),
    index=st.sampled_from(["cursor", "cursor", "key"]),
    known=st.sampled_from(["never", "now", "before"]),
    batch_rows=st.sampled_from([300, 1_000, 200_000]),
    scan=st.sampled_from([None, ScanKind.KEY]),
    meanwhile=st.sampled_from(
        [
            "",
            "",
            "VACUUM FULL tokens",
            ANOTHER,
        ]
    ),
)


# The planner knows nothing of them: it would sort all that is left to find where a batch ends.
MANY_VALUES: Final = Distribution(
    groups=(600,) * 20,
    kept=0,
    each=1,
    order="g, n",
    index="cursor",
    known="never",
    batch_rows=1_000,
    scan=None,
    meanwhile="",
)


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.retention.owned_shard._LARGE", 10)


async def rows_read(database: Database) -> int:
    """Count the rows that were read since the table was made, by connections that are closed."""
    query = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'tokens'"
    return int(str(await database.value(query)))


async def check_distribution(url: str, case: Distribution) -> None:
    admin, pool = (create_engine(database_settings(url)) for _ in range(2))
    database = Database(admin)
    await database.create(Token)
    # Else it would analyse the table when it comes to it.
    await database.execute("ALTER TABLE tokens SET (autovacuum_enabled = off)", *case.statements)
    await admin.dispose()
    kept = {row[3] for row in await database.rows(Token, ~case.policy.predicate)}
    await admin.dispose()
    before = await rows_read(database)
    try:
        await check_run(database, pool, case, before)
        assert kept <= {row[3] for row in await database.rows(Token)}, "the rest is unchanged"
    finally:
        await database.drop(Token)
        await asyncio.gather(admin.dispose(), pool.dispose())


async def check_run(database: Database, pool: AsyncEngine, case: Distribution, before: int) -> None:
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)
        if len(seen) == 2 and case.meanwhile:
            await database.alone(case.meanwhile)

    # Time enough for a batch on a busy machine.
    retention = EngineFactory(create_session_factory(pool))(
        pace="full", batch_seconds=2, batch_rows=case.batch_rows, retry_failed_after=0
    )
    report = await retention.run(case.policy, progress=watch)
    assert (report.deleted, report.failed, report.stopped) == (case.doomed, 0, StopReason.END), "all rows go"
    assert [one.deleted for one in seen] == sorted(one.deleted for one in seen), "progress never goes back"
    await asyncio.gather(pool.dispose(), database.engine.dispose())
    if not case.meanwhile:
        read = await rows_read(database) - before
        assert read <= _READS * (sum(case.groups) + case.kept) + _MARGIN, f"{report.batches} batches read {read}"


@pytest.mark.usefixtures("every_batch_is_reported")
@examples(3, shrinks=False)
@given(case=distributions)
@example(case=MANY_VALUES)
def test_any_distribution_is_gone_through_once(database_url: str, case: Distribution) -> None:
    asyncio.run(check_distribution(database_url, case))


@pytest.mark.parametrize("order", ["g, n", "md5(g::text || n)"], ids=["in order", "shuffled"])
@pytest.mark.parametrize(
    ("groups", "known"),
    [
        ((2,) * 990, "now"),
        ((2,) * 990, "never"),
        ((5,) * 300, "now"),
        ((1,) * 400 + (290,) * 2 + (1,) * 400, "now"),
    ],
)
async def test_no_batch_is_larger_than_it_may_be_and_in_order_each_row_is_read_once(
    database: Database, database_url: str, groups: tuple[int, ...], known: str, order: str
) -> None:
    case = replace(MANY_VALUES, groups=groups, order=order, known=known, batch_rows=300, scan=ScanKind.KEY)
    database.drop_after.extend(["DROP FUNCTION IF EXISTS count_them CASCADE", "DROP TABLE IF EXISTS batches"])
    await database.create(Token, "ALTER TABLE tokens SET (autovacuum_enabled = off)", *case.statements)
    await database.execute(
        "CREATE TABLE batches (rows bigint)",
        "CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END $$",
        "CREATE TRIGGER count_them AFTER DELETE ON tokens REFERENCING OLD TABLE AS gone "
        "FOR EACH STATEMENT EXECUTE FUNCTION count_them()",
    )
    await database.engine.dispose()
    before = await rows_read(database)
    pool = create_engine(database_settings(database_url))
    retention = EngineFactory(create_session_factory(pool))(pace="full", batch_seconds=5, batch_rows=case.batch_rows)
    report = await retention.run(case.policy)
    await pool.dispose()
    assert report.deleted == case.doomed
    assert int(str(await database.value("SELECT max(rows) FROM batches"))) <= case.batch_rows
    if order == "g, n" and set(groups) == {2}:
        assert await rows_read(database) - before <= 1.5 * case.doomed


async def test_a_batch_along_the_key_comes_to_each_page_once_however_its_rows_lie(
    database: Database, database_url: str
) -> None:
    case = replace(MANY_VALUES, groups=(2,) * 990, order="md5(g::text || n)", batch_rows=5_000, scan=ScanKind.KEY)
    await database.create(Token, "ALTER TABLE tokens SET (autovacuum_enabled = off)", *case.statements)
    pool = create_engine(database_settings(database_url))
    retention = EngineFactory(create_session_factory(pool))(pace="full", batch_seconds=5, batch_rows=case.batch_rows)
    report = await retention.run(case.policy)
    await pool.dispose()
    assert (report.deleted, report.batches) == (1_980, 1)
    assert report.per_row is not None
    # One to delete a row, one to count it (RETURNING), and its part of the page and of the index.
    assert report.per_row.blocks_hit + report.per_row.blocks_read < 2.5


async def test_a_batch_along_the_pages_does_not_read_the_index_to_be_planned(
    database: Database, database_url: str
) -> None:
    case = replace(MANY_VALUES, groups=(20_000,), kept=3_000, known="now", batch_rows=200, scan=ScanKind.PAGES)
    await database.create(Token, "ALTER TABLE tokens SET (autovacuum_enabled = off)", *case.statements)
    pool = create_engine(database_settings(database_url))
    retention = EngineFactory(create_session_factory(pool))(pace="full", batch_seconds=5, batch_rows=case.batch_rows)
    report = await retention.run(case.policy)
    await asyncio.gather(pool.dispose(), database.engine.dispose())
    assert report.deleted == 20_000
    fetched = await database.value("SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'tokens'")
    assert int(str(fetched)) < report.batches / 2
