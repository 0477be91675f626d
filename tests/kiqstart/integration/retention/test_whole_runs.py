"""A run that reports its end has left no row, whatever happened to the table, to the policy or to runs before it."""

import asyncio

import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from todo_service.core.todo.models import Todo

pytestmark = pytest.mark.usefixtures("completed", "every_batch_is_reported")

REWRITES = {
    "vacuum": ("VACUUM FULL todos",),
    "cluster": ("CLUSTER todos USING ix_todos_shuffled",),
    "alter": ("ALTER TABLE todos ALTER title TYPE varchar(250)", "ALTER TABLE todos ALTER title TYPE varchar"),
}


def up_to(last: int, scan: ScanKind | None = None) -> RetentionPolicy:
    return RetentionPolicy(name="todos", model=Todo, predicate=Todo.id <= last, cursor=(Todo.id,), scan=scan)


@pytest.mark.parametrize("rewrite", REWRITES)
@BOTH_SCANS
async def test_a_table_may_be_rewritten_in_the_middle(
    make_retention: EngineFactory, database: Database, scan: ScanKind, rewrite: str
) -> None:
    database.drop_after.append("DROP INDEX IF EXISTS ix_todos_shuffled")
    await database.execute("CREATE INDEX ix_todos_shuffled ON todos (md5(id::text))")
    kept = await database.count("todos WHERE NOT is_completed")
    is_rewritten = False

    async def rewrite_it(progress: RetentionProgress) -> None:
        nonlocal is_rewritten
        if progress.deleted > 200 and not is_rewritten:
            is_rewritten = True
            for statement in REWRITES[rewrite]:
                await database.alone(statement)

    report = await make_retention(batch_rows=40).run(completed_todos(scan), progress=rewrite_it)
    assert is_rewritten
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert await database.count("todos") == kept


async def test_a_shard_that_was_done_is_done_again_with_a_table_that_was_rewritten(
    make_retention: EngineFactory, database: Database
) -> None:
    retention, stop = make_retention(batch_rows=25), asyncio.Event()

    async def tell(_: RetentionProgress) -> None:
        if await database.count("retention_runs WHERE stopped = 'end'"):
            stop.set()

    first = await retention.run(completed_todos(ScanKind.PAGES), run_id="one", shards=2, stop=stop, progress=tell)
    assert 0 < first.deleted < 500
    # In the other order, so that what the second shard has left is where the first has been.
    await database.execute("CREATE INDEX ix_todos_backwards ON todos (id DESC)")
    database.drop_after.append("DROP INDEX IF EXISTS ix_todos_backwards")
    await database.alone("CLUSTER todos USING ix_todos_backwards")
    report = await retention.run(completed_todos(ScanKind.PAGES), run_id="one")
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert await database.count("todos WHERE is_completed") == 0


@pytest.mark.parametrize("run_id", ["one", "two"])
@BOTH_SCANS
async def test_a_run_that_goes_on_with_another_predicate_comes_to_what_was_passed(
    make_retention: EngineFactory, database: Database, scan: ScanKind, run_id: str
) -> None:
    retention, stop = make_retention(batch_rows=30), asyncio.Event()

    async def tell(progress: RetentionProgress) -> None:
        if progress.deleted >= 100:
            stop.set()

    even = RetentionPolicy(
        name="todos", model=Todo, predicate=Todo.is_completed.is_(True), cursor=(Todo.id,), scan=scan
    )
    first = await retention.run(even, run_id="one", shards=2, stop=stop, progress=tell)
    assert first.stopped is StopReason.STOPPED
    report = await retention.run(up_to(1_000_000, scan), run_id=run_id)
    assert report.stopped is StopReason.END
    assert await database.count("todos") == 0
    assert report.deleted == 1000 if run_id == "one" else 1000 - first.deleted


@BOTH_SCANS
async def test_more_days_or_fewer_are_another_run(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    retention = make_retention(batch_rows=30)
    limited = await retention.run(up_to(300, scan), limits=RunLimits(rows=200))
    assert limited.stopped is StopReason.ROW_LIMIT
    for last in (900, 400):
        assert (await retention.run(up_to(last, scan))).stopped is StopReason.END
        assert await database.count(f"todos WHERE id <= {last}") == 0
    assert await database.count("todos") == 100


async def test_a_resumed_run_goes_the_way_that_the_policy_asks_for(
    make_retention: EngineFactory,
) -> None:
    retention = make_retention(batch_rows=30)
    await retention.run(up_to(900, ScanKind.KEY), limits=RunLimits(rows=100))
    report = await retention.run(up_to(900, ScanKind.PAGES))
    assert (report.scan, report.resumed, report.deleted) == (ScanKind.PAGES, False, 800)


async def test_a_worker_with_another_predicate_does_not_help(make_retention: EngineFactory, database: Database) -> None:
    retention, invited = make_retention(batch_rows=30), list[int]()

    async def invite(others: int) -> None:
        invited.append(others)
        await retention.join(completed_todos(ScanKind.PAGES), "one")

    every = RetentionPolicy(name="todos", model=Todo, predicate=Todo.id < 500)
    report = await retention.run(every, run_id="one", shards=2, invite=invite)
    assert (invited, report.deleted, report.stopped) == ([1], 499, StopReason.END)
    assert await database.count("todos WHERE id >= 500") == 501
