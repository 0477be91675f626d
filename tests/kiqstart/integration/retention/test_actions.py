"""What is done with the policy's rows instead of a mere DELETE."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Computed, func
from sqlalchemy.orm import Mapped, mapped_column
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS
from tests.kiqstart.integration.retention.shapes import SHAPES
from tests.kiqstart.integration.retention.tables import Tables, Token
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.row_update import RowUpdate
from kiqstart.retention.run_options import RunLimits
from todo_service.core.todo.models import Todo

TOKENS = SHAPES["integer key"]


class KeptToken(Tables):
    __tablename__ = "kept_tokens"

    archived_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # In another order than there.
    note: Mapped[str | None]
    expires_at: Mapped[datetime]
    id: Mapped[int] = mapped_column(primary_key=True)
    length: Mapped[int | None] = mapped_column(Computed("length(note)", persisted=True))


class KeptEvent(Tables):
    __tablename__ = "kept_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    body: Mapped[str]


def archived(scan: ScanKind | None = None) -> RetentionPolicy:
    return replace(TOKENS.policy(scan), archive=KeptToken)


def redacted(scan: ScanKind | None = None) -> RetentionPolicy:
    return replace(TOKENS.policy(scan), update=RowUpdate(values={Token.note: "gone"}, done=Token.note == "gone"))


@BOTH_SCANS
async def test_rows_are_archived_as_they_are_deleted(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    await database.fill(TOKENS)
    await database.create(KeptToken)
    count = "SELECT array_agg((id, expires_at, note)::text ORDER BY id)::text FROM"
    doomed = await database.value(f"{count} tokens WHERE expires_at < '2026-01-11 00:00+00'")
    retention = make_retention(batch_rows=24)
    assert (await retention.run(archived(scan), limits=RunLimits(rows=50))).deleted == 50
    assert (await database.count("tokens"), await database.count("kept_tokens")) == (350, 50)
    report = await retention.run(archived(scan))
    assert (report.deleted, report.stopped, report.resumed) == (TOKENS.doomed - 50, StopReason.END, True)
    assert report.per_row is not None
    # A record of the row that goes, one of the row that is written, and one for each of the archive's indexes.
    assert 150 < report.per_row.wal_bytes < 20_000
    assert await database.value(f"{count} kept_tokens") == doomed
    assert await database.count("tokens") == 400 - TOKENS.doomed
    assert await database.count("kept_tokens WHERE length IS DISTINCT FROM length(note)") == 0


async def test_rows_of_partitions_are_archived(retention: RetentionEngine, database: Database) -> None:
    events = SHAPES["partitioned, cursor on time"]
    await database.fill(events)
    await database.create(KeptEvent)
    report = await retention.run(replace(events.policy(None), archive=KeptEvent))
    assert (report.deleted, await database.count("kept_events")) == (events.doomed, events.doomed)


async def test_a_row_that_the_archive_refuses_stays_and_costs_the_others_nothing(
    make_retention: EngineFactory, database: Database
) -> None:
    await database.fill(TOKENS)
    await database.create(
        KeptToken, "INSERT INTO kept_tokens (id, expires_at) SELECT id, now() FROM tokens ORDER BY expires_at LIMIT 3"
    )
    report = await make_retention(batch_rows=24).run(archived())
    assert (report.deleted, report.failed, report.stopped) == (TOKENS.doomed - 3, 3, StopReason.END)
    assert {one.error for one in report.errors} == {'duplicate key value violates unique constraint "kept_tokens_pkey"'}
    assert (await database.count("tokens"), await database.count("kept_tokens")) == (
        400 - TOKENS.doomed + 3,
        TOKENS.doomed,
    )


async def test_rows_that_a_trigger_keeps_out_of_the_archive_are_not_deleted(
    retention: RetentionEngine, database: Database
) -> None:
    await database.fill(TOKENS)
    await database.create(
        KeptToken,
        "CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER keep_out BEFORE INSERT ON kept_tokens FOR EACH ROW EXECUTE FUNCTION keep_out()",
    )
    database.drop_after.append("DROP FUNCTION keep_out CASCADE")
    with pytest.raises(PolicyError, match=r"^retention policy 'tokens': its archive took only 0 of 239 rows"):
        await retention.run(archived())
    assert await database.count("tokens") == 400


MISFITS = {
    "ALTER TABLE kept_tokens DROP note CASCADE": "column 'note' (character varying) is missing there",
    "ALTER TABLE kept_tokens ALTER expires_at TYPE date": "column 'expires_at' is timestamp with time zone here",
    "ALTER TABLE kept_tokens ALTER note SET NOT NULL": "column 'note' may be NULL here and not there",
    "ALTER TABLE kept_tokens ALTER archived_at DROP DEFAULT": "column 'archived_at' is there alone",
    "ALTER TABLE kept_tokens ALTER id DROP DEFAULT, ALTER id ADD GENERATED ALWAYS AS IDENTITY": "takes no value",
    "ALTER TABLE tokens ADD extra int; ALTER TABLE kept_tokens ADD extra int": "column 'extra' is not mapped",
    "CREATE TABLE odd (further int) INHERITS (tokens)": "tables inherit from tokens",
    "CREATE RULE odd AS ON INSERT TO kept_tokens DO INSTEAD NOTHING": "cannot run its statement: cannot perform INSERT",
    "ALTER TABLE kept_tokens RENAME TO t; CREATE VIEW kept_tokens AS SELECT * FROM t": "is no table of this",
    "ALTER TABLE kept_tokens RENAME TO t": "its archive kept_tokens is no table of this database",
}


async def test_an_archive_that_does_not_fit_is_refused(retention: RetentionEngine, database: Database) -> None:
    database.drop_after.append("DROP TABLE IF EXISTS odd, t CASCADE")
    for change, problem in MISFITS.items():
        await database.create(Token)
        await database.create(KeptToken, *change.split("; "))
        with pytest.raises(PolicyError) as refused:
            await retention.check([archived()])
        assert problem in str(refused.value)
        assert "\n" not in str(refused.value)
        await database.execute(
            "DROP TABLE IF EXISTS odd, t CASCADE", "DROP TABLE IF EXISTS tokens, kept_tokens CASCADE"
        )


@BOTH_SCANS
async def test_rows_are_updated_once(make_retention: EngineFactory, database: Database, scan: ScanKind) -> None:
    await database.fill(TOKENS)
    before = await database.rows(Token)
    retention = make_retention(batch_rows=24)
    assert (await retention.preview(redacted(scan))).rows == TOKENS.doomed
    report = await retention.run(redacted(scan))
    assert (report.deleted, report.stopped) == (TOKENS.doomed, StopReason.END)
    assert report.per_row is not None
    assert report.per_row.wal_bytes > 50
    assert await database.count("tokens") == 400
    assert await database.count("tokens WHERE note = 'gone' AND expires_at < '2026-01-11 00:00+00'") == TOKENS.doomed
    assert len(await database.rows(Token) & before) == 400 - TOKENS.doomed
    after = await database.rows(Token)
    assert (await retention.run(redacted(scan))).deleted == 0
    assert await database.rows(Token) == after


@pytest.mark.usefixtures("completed")
async def test_a_value_may_be_made_of_the_row(retention: RetentionEngine, database: Database) -> None:
    update = RowUpdate(values={Todo.title: "todo no. " + func.md5(Todo.title)}, done=Todo.title.startswith("todo no. "))
    policy = RetentionPolicy(name="hashed", model=Todo, predicate=Todo.is_completed.is_(True), update=update)
    assert (await retention.run(policy)).deleted == 500
    assert await database.count("todos WHERE title ~ '^todo no. [0-9a-f]{32}$' AND is_completed") == 500


REFUSED: dict[str, tuple[Callable[[], RetentionPolicy], str]] = {
    "done is never true": (
        lambda: replace(redacted(), update=RowUpdate(values={Token.note: "gone"}, done=Token.note == "away")),
        "after its update `done` is not true of a row",
    ),
    "done looks elsewhere": (
        lambda: replace(redacted(), update=RowUpdate(values={Token.note: "gone"}, done=Token.id < 0)),
        "after its update `done` is not true of a row",
    ),
    "no column": (
        lambda: replace(redacted(), update=RowUpdate(values={}, done=Token.note == "gone")),
        "its update sets no column",
    ),
    "the key": (
        lambda: replace(redacted(), update=RowUpdate(values={Token.id: 7}, done=Token.id == 7)),
        "its update sets 'id', of the primary key",
    ),
    "another's column": (
        lambda: replace(redacted(), update=RowUpdate(values={Todo.title: ""}, done=Token.note == "gone")),
        "is not a column of 'tokens'",
    ),
    "another's value": (
        lambda: replace(redacted(), update=RowUpdate(values={Token.note: Todo.title}, done=Token.note == "gone")),
        "its update sets 'note' from 'todos'",
    ),
    "nothing to archive": (lambda: replace(redacted(), archive=KeptToken), "there is nothing to archive"),
    "the table itself": (lambda: replace(archived(), archive=Token), "is the table itself"),
}


async def test_an_action_that_cannot_be_meant_is_refused(retention: RetentionEngine, database: Database) -> None:
    await database.fill(TOKENS)
    for name, (policy, problem) in REFUSED.items():
        with pytest.raises(PolicyError) as refused:
            await retention.check([policy()])
        assert problem in str(refused.value), name
        assert "\n" not in str(refused.value)
    await database.execute("ALTER TABLE tokens DROP note, ADD note text GENERATED ALWAYS AS ('') STORED")
    with pytest.raises(PolicyError, match=r"cannot run its statement: column .note. can only be updated to DEFAULT"):
        await retention.check([redacted()])


async def test_an_update_that_a_trigger_takes_back_ends_the_run(retention: RetentionEngine, database: Database) -> None:
    await database.fill(TOKENS)
    await database.execute(
        "CREATE FUNCTION set_back() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.note = OLD.note; RETURN NEW; END $$",
        "CREATE TRIGGER set_back BEFORE UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION set_back()",
    )
    database.drop_after.append("DROP FUNCTION set_back CASCADE")
    with pytest.raises(PolicyError, match="look for triggers that set it back"):
        await retention.run(redacted())
    assert await database.count("tokens WHERE note = 'gone'") == 0
