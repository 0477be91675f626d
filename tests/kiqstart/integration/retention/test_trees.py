"""Rows that refer to rows of their own table."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import URL, ForeignKey, MetaData
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.examples import examples
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, SCANS
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits


class Trees(DeclarativeBase):
    metadata = MetaData()


class Comment(Trees):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    is_old: Mapped[bool]
    answers: Mapped[int | None] = mapped_column(ForeignKey("comments.id"), index=True)


@dataclass(frozen=True)
class Forest:
    """For each row, from 1 on, the one that it refers to, and whether it is the policy's."""

    answers: tuple[int | None, ...]
    old: tuple[bool, ...]
    on_delete: str

    @property
    def going(self) -> set[int]:
        """The policy's rows but for those that a row refers to which stays."""
        going = {row for row, is_old in enumerate(self.old, 1) if is_old}
        if self.on_delete == "SET NULL":
            return going
        while held := {target for row, target in enumerate(self.answers, 1) if target in going and row not in going}:
            going -= held
        return going


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Make up to 40 rows; a row refers to one before it in an order that is not that of their keys."""
    order = draw(st.permutations(range(1, draw(st.integers(1, 40)) + 1)))
    answers: dict[int, int | None] = {}
    for place, row in enumerate(order):
        earlier = draw(st.none() | st.integers(max(0, place - draw(st.sampled_from([1, 3, 40]))), place))
        answers[row] = None if earlier is None or place == 0 else order[min(earlier, place - 1)]
    # Few that stay, or hardly anything could go.
    old = [draw(st.integers(0, 9)) > 0 for _ in order]
    on_delete = draw(st.sampled_from(["NO ACTION", "RESTRICT", "CASCADE", "SET NULL"]))
    return Forest(tuple(answers[row] for row in sorted(answers)), tuple(old), on_delete)


async def check_forest(url: URL, forest: Forest, scan: ScanKind, batch_rows: int) -> None:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE IF EXISTS comments")
            await connection.run_sync(Trees.metadata.create_all)
            # Four rows a page, so that a scan along the pages has several batches, and none of less than a page.
            await connection.exec_driver_sql("ALTER TABLE comments ADD body text DEFAULT repeat('x', 1900)")
            rows = [
                {"id": row, "is_old": is_old, "answers": answers}
                for row, (answers, is_old) in enumerate(zip(forest.answers, forest.old, strict=True), 1)
            ]
            await connection.exec_driver_sql("ALTER TABLE comments DROP CONSTRAINT comments_answers_fkey")
            await connection.execute(Trees.metadata.tables["comments"].insert(), rows)
            await connection.exec_driver_sql(
                f"ALTER TABLE comments ADD FOREIGN KEY (answers) REFERENCES comments ON DELETE {forest.on_delete}"
            )
            await connection.exec_driver_sql("ANALYZE comments")
        policy = RetentionPolicy(
            name="trees", model=Comment, predicate=Comment.is_old.is_(True), cursor=(Comment.id,), scan=scan
        )
        retention = EngineFactory(async_sessionmaker(engine))(pace="full", batch_rows=batch_rows, retry_failed_after=0)
        limited = await retention.run(policy, limits=RunLimits(rows=batch_rows + 1))
        report = await retention.run(policy)
        async with engine.begin() as connection:
            left = set((await connection.exec_driver_sql("SELECT id FROM comments")).scalars())
        everything, going = set(range(1, len(rows) + 1)), forest.going
        assert everything - left == going
        assert limited.deleted + report.deleted == len(going)
        assert limited.deleted == min(batch_rows + 1, len(going))
        held = sum(forest.old) - len(going)
        ended = StopReason.UNDELETABLE if held and not report.deleted else StopReason.END
        assert (report.stopped, report.failed, report.skipped) == (ended, held, 0)
    finally:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE IF EXISTS comments")
            await connection.exec_driver_sql("DELETE FROM retention_runs WHERE policy = 'trees'")
        await engine.dispose()


@examples(4)
@given(forest=forests(), scan=st.sampled_from(SCANS), batch_rows=st.integers(3, 15))
# A chain in either direction, a row that refers to itself, a circle, and replies that stay.
@example(Forest((None, 1, 2, 3, 4, 5, 6, 7), (True,) * 8, "NO ACTION"), ScanKind.KEY, 3)
@example(Forest((2, 3, 4, 5, 6, 7, 8, None), (True,) * 8, "NO ACTION"), ScanKind.KEY, 3)
@example(Forest((1, None, 3, 2), (True,) * 4, "NO ACTION"), ScanKind.KEY, 10)
@example(Forest((2, 3, 4, 5, 6, 1), (True,) * 6, "NO ACTION"), ScanKind.KEY, 6)
@example(Forest((None, 1, 2, None), (True, True, False, True), "CASCADE"), ScanKind.PAGES, 3)
def test_leaves_go_first_and_no_row_that_another_holds(
    database_url: str, forest: Forest, scan: ScanKind, batch_rows: int
) -> None:
    asyncio.run(check_forest(database_settings(database_url).parsed_url().url, forest, scan, batch_rows))


@BOTH_SCANS
async def test_a_table_of_tokens_that_replace_each_other_is_deleted_in_a_few_batches(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    database.drop_after.append("DROP TABLE IF EXISTS comments")
    await database.execute(
        "CREATE TABLE comments (id int PRIMARY KEY, is_old bool NOT NULL, answers int REFERENCES comments)",
        "CREATE INDEX ON comments (answers)",
        "INSERT INTO comments SELECT n, n <= 1900, CASE WHEN n > 60 AND n % 3 = 0 THEN n - 1 - (n * 7919 % 50) END "
        "FROM generate_series(1, 2000) n",
        "ANALYZE comments",
    )
    held = await database.count(
        "(WITH RECURSIVE held AS (SELECT answers AS id FROM comments WHERE NOT is_old UNION "
        "SELECT c.answers FROM held JOIN comments c USING (id)) SELECT FROM held JOIN comments USING (id) WHERE is_old)"
    )
    policy = RetentionPolicy(
        name="tokens", model=Comment, predicate=Comment.is_old.is_(True), cursor=(Comment.id,), scan=scan
    )
    report = await make_retention(batch_rows=300, batch_seconds=5).run(policy)
    assert (report.deleted, report.failed) == (1900 - held, held)
    assert report.batches <= 30
    (failure,) = report.errors
    assert "rows of its own table refer to it" in failure.error
    assert await database.count("comments") == 100 + held


async def shuffled_chain(database: Database, rows: int) -> RetentionPolicy:
    """Make a chain of which no two rows that follow each other are likely to lie in one stretch of the table."""
    database.drop_after.append("DROP TABLE IF EXISTS comments")
    await database.execute(
        "CREATE TABLE comments (id int PRIMARY KEY, is_old bool NOT NULL DEFAULT true, answers int, place int)",
        "INSERT INTO comments (id, answers, place) SELECT id, lag(id) OVER (ORDER BY md5(id::text)), "  # noqa: S608 - ours
        f"row_number() OVER (ORDER BY md5(id::text)) FROM generate_series(1, {rows}) id ORDER BY id",
        "ALTER TABLE comments ADD FOREIGN KEY (answers) REFERENCES comments",
        "CREATE INDEX ON comments (answers)",
        "ANALYZE comments",
    )
    return RetentionPolicy(
        name="chain", model=Comment, predicate=Comment.is_old.is_(True), cursor=(Comment.id,), scan=ScanKind.KEY
    )


async def test_a_chain_in_no_order_is_followed_wherever_its_rows_lie(
    make_retention: EngineFactory, database: Database
) -> None:
    policy = await shuffled_chain(database, 3_000)
    retention = make_retention(batch_rows=300, batch_seconds=5)
    limited = await retention.run(policy, limits=RunLimits(rows=500))
    report = await retention.run(policy)
    assert (limited.deleted, report.deleted, report.failed) == (500, 2_500, 0)
    # A round through all stretches for each row would be thousands.
    assert limited.batches + report.batches <= 70
    assert await database.count("comments") == 0


@pytest.mark.parametrize("is_met_at_first", [False, True])
@pytest.mark.parametrize("remembered", [0, 3600])
async def test_a_chain_goes_up_to_a_row_that_cannot_which_is_counted_once(
    make_retention: EngineFactory, database: Database, is_met_at_first: bool, remembered: int
) -> None:
    policy = await shuffled_chain(database, 1_000)
    if is_met_at_first:
        await database.execute("UPDATE comments SET answers = NULL WHERE place = 401")
    await database.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''on hold''; END'",
        "CREATE TRIGGER keep BEFORE DELETE ON comments FOR EACH ROW WHEN (OLD.place = 400) EXECUTE FUNCTION keep()",
    )
    database.drop_after.append("DROP FUNCTION IF EXISTS keep CASCADE")
    report = await make_retention(batch_rows=300, batch_seconds=5, retry_failed_after=remembered).run(policy)
    assert (report.deleted, report.failed) == (600, 400)
    assert sorted(failure.rows for failure in report.errors) == [1, 399]
    assert report.batches <= 200


@BOTH_SCANS
async def test_a_reference_that_becomes_null_holds_no_row_for_one_that_stays(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    database.drop_after.append("DROP TABLE IF EXISTS comments")
    await database.execute(
        "CREATE TABLE comments (id int PRIMARY KEY, is_old bool NOT NULL, answers int REFERENCES comments, "
        "quotes int REFERENCES comments ON DELETE SET NULL)",
        # The first stays; so the second does, which quotes the third.
        "INSERT INTO comments VALUES (3, true, NULL, NULL), (2, true, NULL, 3), (1, false, 2, NULL)",
    )
    policy = RetentionPolicy(
        name="quotes", model=Comment, predicate=Comment.is_old.is_(True), cursor=(Comment.id,), scan=scan
    )
    report = await make_retention().run(policy)
    assert (report.deleted, report.failed) == (1, 1)
    assert await database.count("comments WHERE id IN (1, 2) AND quotes IS NULL") == 2
