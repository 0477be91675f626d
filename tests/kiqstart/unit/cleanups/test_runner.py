"""What lies between the engine and taskiq, on taskiq's own broker."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Unpack, cast

import pytest
import pytest_asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import DBAPIError
from taskiq import AsyncTaskiqDecoratedTask, Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from tests.deadlines import HANG

from kiqstart import CleanupDelayedError, CleanupOptions, CleanupProgress, CleanupResult, CleanupRunner
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.retention.cost import RowCost
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import RetentionFailure, RetentionReport, StopReason
from kiqstart.retention.run_options import RunLimits, RunOptions
from kiqstart.tasks.registration import register_task
from todo_service.core.todo.repository import TodoRepository

REPORT = RetentionReport(
    policy="completed_todos",
    run_id="a run",
    scan=ScanKind.PAGES,
    reason="the policy has no cursor",
    deleted=5,
    batches=2,
    seconds=0.5,
    longest_batch=0.25,
    skipped=1,
    failed=2,
    errors=(RetentionFailure(key={"user_id": 7}, error="is referenced", rows=2),),
    waited=0.125,
    resumed=True,
    bloat=("todos: autovacuum will clean up 5 dead rows",),
    per_row=RowCost(blocks_hit=2.1, blocks_read=0.5, blocks_dirtied=0.02, wal_bytes=61.5),
    partitions=("todos_2020 (about 7 rows)",),
)
PROGRESS = RetentionProgress(deleted=5, total=8, fraction=0.625, seconds=1.0, rate=5.0, eta=0.6, waiting="a replica")


class DatabaseError(Exception):
    """What the driver raises."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("refused")
        self.sqlstate = sqlstate


@dataclass
class Engine:
    """Stands in for the engine: invites as many others as there are shards but one, and reports what it is told to."""

    reports: list[RetentionReport | Exception] = field(default_factory=list[RetentionReport | Exception])
    runs: list[RunOptions] = field(default_factory=list[RunOptions])
    joins: list[tuple[str, asyncio.Event]] = field(default_factory=list[tuple[str, asyncio.Event]])

    async def run(self, policy: RetentionPolicy, **options: Unpack[RunOptions]) -> RetentionReport:
        assert policy.name == "completed_todos"
        self.runs.append(options)
        assert len(self.runs) < 10, "those who are called to a run open runs and call others"
        invite, progress = options.get("invite"), options.get("progress")
        assert invite is not None
        assert progress is not None
        await progress(PROGRESS)
        await invite(options.get("shards", 1) - 1)
        report = self.reports.pop(0) if self.reports else REPORT
        if isinstance(report, Exception):
            raise report
        return report

    async def join(self, policy: RetentionPolicy, run_id: str, *, stop: asyncio.Event) -> None:
        assert policy.name == "completed_todos"
        self.joins.append((run_id, stop))


@dataclass
class Cleaner:
    """A controller in small."""

    runner: CleanupRunner
    tries: list[str] = field(default_factory=list[str])

    async def clean(
        self,
        context: Context = TaskiqDepends(),
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
        **options: Unpack[CleanupOptions],
    ) -> CleanupResult:
        self.tries.append(f"{context.message.task_id} {context.message.labels.get('retries', 0)}")
        return await self.runner.run(TodoRepository().completed_policy(), context, progress, **options)


Task = AsyncTaskiqDecoratedTask[..., Coroutine[Any, Any, CleanupResult]]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def shutdown() -> ShutdownSignal:
    return ShutdownSignal()


@pytest.fixture
def cleaner(engine: Engine, shutdown: ShutdownSignal) -> Cleaner:
    return Cleaner(CleanupRunner(engine=cast("RetentionEngine", engine), shutdown=shutdown))


@pytest_asyncio.fixture
async def clean(cleaner: Cleaner) -> AsyncGenerator[Task]:
    broker = DelayingInMemoryBroker(await_inplace=True)
    broker.add_middlewares(RetryMiddleware(broker))
    yield register_task(
        broker, cleaner.clean, name="clean", max_retries=1, retry_delay=0, retry_on=(CleanupDelayedError,)
    )
    await broker.shutdown()


async def test_the_run_has_the_tasks_id_its_limits_and_the_workers_signal(
    clean: Task, engine: Engine, shutdown: ShutdownSignal
) -> None:
    task = await clean.kiq(row_limit=9, time_budget=2.5)
    [run] = engine.runs
    assert run.get("run_id") == task.task_id
    assert run.get("limits") == RunLimits(rows=9, seconds=2.5)
    assert run.get("stop") is shutdown.event


async def test_the_result_is_the_whole_report(clean: Task) -> None:
    result = await (await clean.kiq()).wait_result(timeout=HANG)
    assert result.return_value == CleanupResult(deleted=5, report=REPORT)


async def test_others_are_called_to_the_run_with_messages_of_the_same_task(
    clean: Task, cleaner: Cleaner, engine: Engine, shutdown: ShutdownSignal
) -> None:
    task = await clean.kiq(shards=4, row_limit=9)
    assert engine.joins == [(task.task_id, shutdown.event)] * 3
    # The others' messages have ids of their own, and none of them opens a run or calls yet others.
    assert len({one.partition(" ")[0] for one in cleaner.tries}) == 4
    assert len(engine.runs) == 1


async def test_nobody_is_called_to_a_run_in_one_shard(clean: Task, engine: Engine) -> None:
    await clean.kiq()
    assert engine.joins == []


async def test_a_run_that_its_workers_end_has_stopped_goes_on_at_once_under_the_same_id(
    clean: Task, cleaner: Cleaner, engine: Engine
) -> None:
    engine.reports += [replace(REPORT, stopped=StopReason.STOPPED, deleted=2)] * 3
    task = await clean.kiq()
    assert not await task.is_ready()
    result = await task.wait_result(check_interval=0.01, timeout=HANG)
    assert [run.get("run_id") for run in engine.runs] == [task.task_id] * 4
    # More often than the task has retries, none of which is used up.
    assert cleaner.tries == [f"{task.task_id} 0"] * 4
    assert not result.is_err


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("refused"),
        DBAPIError("DELETE", {}, Exception("gone"), connection_invalidated=True),
        DBAPIError("DELETE", {}, DatabaseError("53100")),
        DBAPIError("DELETE", {}, DatabaseError("40P01")),
    ],
    ids=["refused", "gone", "disk full", "deadlock"],
)
async def test_what_passes_is_tried_again_under_the_same_id(
    clean: Task, cleaner: Cleaner, engine: Engine, error: Exception
) -> None:
    engine.reports = [error]
    task = await clean.kiq()
    assert not (await task.wait_result(check_interval=0.01, timeout=HANG)).is_err
    assert cleaner.tries == [f"{task.task_id} 0", f"{task.task_id} 1"]
    assert [run.get("run_id") for run in engine.runs] == [task.task_id] * 2


@pytest.mark.parametrize("state", ["42501", "42P01", "22P02"])
async def test_what_stays_as_it_is_reaches_the_caller_at_once(
    clean: Task, cleaner: Cleaner, engine: Engine, state: str
) -> None:
    engine.reports = [DBAPIError("DELETE", {}, DatabaseError(state))]
    result = await (await clean.kiq()).wait_result(check_interval=0.01, timeout=HANG)
    assert isinstance(result.error, DBAPIError)
    assert len(cleaner.tries) == 1


async def test_progress_can_be_followed(clean: Task) -> None:
    progress = await (await clean.kiq()).get_progress()
    assert progress is not None
    assert progress.meta == {
        "deleted": 5,
        "total": 8,
        "fraction": 0.625,
        "seconds": 1.0,
        "rate": 5.0,
        "eta": 0.6,
        "waiting": "a replica",
    }


async def test_progress_that_cannot_be_stored_costs_the_clean_up_nothing(
    clean: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(clean.broker.result_backend, "set_progress", fail)
    assert not (await (await clean.kiq()).wait_result(timeout=HANG)).is_err


async def test_what_needs_somebodys_attention_is_logged(clean: Task, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kiqstart.cleanups")
    await clean.kiq()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "completed_todos: cannot delete {'user_id': 7}: is referenced"),
        ("WARNING", "completed_todos: 1 rows were locked and wait for the next run"),
        ("INFO", "todos: autovacuum will clean up 5 dead rows"),
    ]
