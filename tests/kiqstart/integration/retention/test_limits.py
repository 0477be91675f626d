import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.kiqstart.integration.retention.conftest import Clock
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.kiqstart.integration.retention.shapes import SHAPES
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.ceilings import Ceilings, DailyWindow
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import InvalidRunOptionError
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
@pytest.mark.parametrize(("rows", "batch_rows"), [(1, 100_000), (7, 25), (100, 25), (501, 100_000)])
async def test_a_run_stops_after_exactly_so_many_rows(
    make_retention: EngineFactory, database: Database, scan: ScanKind, rows: int, batch_rows: int
) -> None:
    kept = await database.rows(Todo, ~Todo.is_completed)
    report = await make_retention(batch_rows=batch_rows).run(completed_todos(scan), limits=RunLimits(rows=rows))
    deleted = min(rows, 500)
    assert (report.deleted, report.stopped) == (deleted, StopReason.ROW_LIMIT if rows < 500 else StopReason.END)
    assert await database.rows(Todo, ~Todo.is_completed) == kept
    assert await database.count("todos") == 1000 - deleted


@BOTH_SCANS
@pytest.mark.parametrize("rows", [1, 100])
async def test_the_limit_is_exact_over_partitions(
    retention: RetentionEngine, database: Database, scan: ScanKind, rows: int
) -> None:
    shape = SHAPES["partitioned, cursor on time"]
    await database.fill(shape)
    policy = shape.policy(scan)
    report = await retention.run(policy, limits=RunLimits(rows=rows))
    assert (report.deleted, report.stopped) == (rows, StopReason.ROW_LIMIT)
    assert await database.count("events") == 400 - rows
    rest = await retention.run(policy)
    assert (rest.deleted, rest.resumed) == (shape.doomed - rows, True)


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
@pytest.mark.parametrize("rows", [2, 100])
async def test_shards_share_the_limit_out(
    retention: RetentionEngine, database: Database, scan: ScanKind, rows: int
) -> None:
    others: list[asyncio.Task[None]] = []

    async def invite(count: int) -> None:
        others.extend(asyncio.create_task(retention.join(completed_todos(scan), "one")) for _ in range(count))

    report = await retention.run(
        completed_todos(scan), run_id="one", limits=RunLimits(rows=rows), shards=3, invite=invite
    )
    await asyncio.gather(*others)
    assert (report.deleted, report.stopped) == (rows, StopReason.ROW_LIMIT)
    assert await database.count("todos WHERE is_completed") == 500 - rows
    assert len(others) == 2


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
async def test_runs_of_a_limit_each_go_on_until_nothing_is_left(
    retention: RetentionEngine, database: Database, scan: ScanKind
) -> None:
    kept = await database.rows(Todo, ~Todo.is_completed)
    reports = [await retention.run(completed_todos(scan), limits=RunLimits(rows=150)) for _ in range(4)]
    assert [one.deleted for one in reports] == [150, 150, 150, 50]
    assert [one.stopped for one in reports] == [*[StopReason.ROW_LIMIT] * 3, StopReason.END]
    assert [one.resumed for one in reports] == [False, True, True, True]
    assert await database.rows(Todo) == kept
    # The scan is done: the next run begins at the beginning.
    await database.execute("UPDATE todos SET is_completed = true, completed_at = now() WHERE id < 20")
    again = await retention.run(completed_todos(scan))
    assert (again.deleted, again.resumed) == (10, False)


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
async def test_the_next_run_begins_where_the_limited_one_stopped(
    retention: RetentionEngine, database: Database, user: User, scan: ScanKind
) -> None:
    await retention.run(completed_todos(scan), limits=RunLimits(rows=300))
    # Behind the place where it stopped, in the room that vacuum has made, and past the old end.
    # FREEZE waits for a page that somebody is just writing, and does not leave it out.
    await database.alone("VACUUM (FREEZE) todos")
    await database.execute(
        "INSERT INTO todos (id, user_id, title, is_completed, completed_at) OVERRIDING SYSTEM VALUE "  # noqa: S608 - the test's own
        f"SELECT -n, {user.id}, 'early', true, now() FROM generate_series(1, 20) n",
        "INSERT INTO todos (user_id, title, is_completed, completed_at) "  # noqa: S608 - the test's own
        f"SELECT {user.id}, repeat('late', 100), true, now() FROM generate_series(1, 300)",
    )
    first_pages = "todos WHERE title = 'early' AND ctid < '(2,0)'"
    assert await database.count(first_pages) == 20
    # Those that were in the way go before those that are past the end.
    some = await retention.run(completed_todos(scan), limits=RunLimits(rows=200))
    assert (some.deleted, some.resumed) == (200, True)
    assert await database.count("todos WHERE is_completed AND title LIKE 'todo%'") <= 50
    # Behind it are those that came meanwhile: they are the last.
    assert await database.count(first_pages) == 20
    rest = await retention.run(completed_todos(scan))
    assert (rest.resumed, rest.stopped, rest.deleted) == (True, StopReason.END, 320 + 200 - 200)
    assert await database.count("todos WHERE is_completed") == 0


@pytest.mark.usefixtures("completed", "every_batch_is_reported")
@BOTH_SCANS
async def test_a_run_stops_between_batches_when_its_time_is_over(
    make_retention: EngineFactory, database: Database, clock: Clock, scan: ScanKind
) -> None:
    async def watch(_: RetentionProgress) -> None:
        clock.ahead += 20

    report = await make_retention(batch_rows=50).run(
        completed_todos(scan), limits=RunLimits(seconds=60), progress=watch
    )
    assert (report.stopped, report.batches) == (StopReason.TIME_BUDGET, 3)
    left = await database.count("todos WHERE is_completed")
    assert (report.deleted, 0 < left < 500) == (500 - left, True)
    clock.ahead = 0
    rest = await make_retention().run(completed_todos(scan), limits=RunLimits(seconds=60))
    assert (rest.deleted, rest.stopped, rest.resumed) == (left, StopReason.END, True)
    assert await database.count("todos") == 500


@pytest.mark.usefixtures("completed", "every_batch_is_reported")
async def test_all_who_take_part_keep_to_the_time(
    make_retention: EngineFactory, database: Database, clock: Clock
) -> None:
    retention = make_retention(pace="full", batch_rows=10, pause=0.05)
    others: list[asyncio.Task[None]] = []

    async def invite(count: int) -> None:
        others.extend(asyncio.create_task(retention.join(completed_todos(ScanKind.PAGES), "one")) for _ in range(count))

    async def watch(_: RetentionProgress) -> None:
        if await database.count("retention_runs WHERE state ->> 'deleted' <> '0'") == 2:
            clock.ahead = 1000

    report = await retention.run(
        completed_todos(ScanKind.PAGES),
        run_id="one",
        limits=RunLimits(seconds=1000),
        shards=2,
        invite=invite,
        progress=watch,
    )
    await asyncio.gather(*others)
    assert (report.stopped, len(others)) == (StopReason.TIME_BUDGET, 1)
    # Either has half of them to do.
    assert 0 < report.deleted == 500 - await database.count("todos WHERE is_completed") < 250


@pytest.mark.usefixtures("completed")
async def test_a_run_that_is_gone_on_with_keeps_its_limit(make_retention: EngineFactory, database: Database) -> None:
    async def fail(_: object) -> None:
        raise ConnectionRefusedError

    retention, policy, limits = make_retention(batch_rows=40), completed_todos(ScanKind.KEY), RunLimits(rows=60)
    with pytest.raises(ConnectionRefusedError):
        await retention.run(policy, run_id="one", limits=limits, progress=fail)
    assert await database.count("todos") == 980
    report = await retention.run(policy, run_id="one", limits=limits)
    assert (report.deleted, await database.count("todos")) == (60, 940)


@pytest.mark.parametrize("limits", [RunLimits(rows=0), RunLimits(rows=-1), RunLimits(seconds=0), RunLimits(seconds=-1)])
async def test_limits_out_of_range_are_refused(retention: RetentionEngine, limits: RunLimits) -> None:
    with pytest.raises(InvalidRunOptionError, match=r"must be above 0"):
        await retention.run(completed_todos(None), limits=limits)


@pytest.mark.parametrize("shards", [0, 65])
async def test_shards_out_of_range_are_refused(retention: RetentionEngine, shards: int) -> None:
    with pytest.raises(InvalidRunOptionError, match="shards must be from 1 to 64"):
        await retention.run(completed_todos(None), shards=shards)


@pytest.mark.usefixtures("completed")
async def test_a_policys_own_ceilings_hold_beside_the_callers(make_retention: EngineFactory) -> None:
    policy = replace(completed_todos(None), ceilings=Ceilings(rows=300, rows_per_second=1000))
    retention = make_retention(pace="full")
    report = await retention.run(policy)
    assert (report.deleted, report.stopped) == (300, StopReason.ROW_LIMIT)
    assert report.seconds >= 0.2
    assert (await retention.run(policy, limits=RunLimits(rows=50))).deleted == 50


@dataclass(frozen=True)
class ClosingWindow(DailyWindow):
    """A window that closes when the test says so."""

    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def is_open(self, moment: datetime) -> bool:
        del moment
        return not self.is_over.is_set()


@pytest.mark.usefixtures("completed", "every_batch_is_reported")
async def test_a_run_stops_outside_its_window_and_the_next_goes_on(make_retention: EngineFactory) -> None:
    begin, end = ((datetime.now(UTC) + timedelta(hours=hours)).time() for hours in (1, 2))
    shut, closing = DailyWindow(begin=begin, end=end), ClosingWindow(begin=begin, end=end)
    policy, retention = completed_todos(None), make_retention(batch_rows=10)

    async def close(_: RetentionProgress) -> None:
        closing.is_over.set()

    closed = await retention.run(replace(policy, window=shut))
    assert (closed.deleted, closed.stopped) == (0, StopReason.WINDOW)
    cut = await retention.run(replace(policy, window=closing), progress=close)
    assert 0 < cut.deleted < 500
    assert cut.stopped is StopReason.WINDOW
    rest = await make_retention().run(replace(policy, window=DailyWindow(begin=end, end=begin)))
    assert (rest.deleted, rest.stopped, rest.resumed) == (500 - cut.deleted, StopReason.END, True)
