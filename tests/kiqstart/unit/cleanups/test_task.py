"""The task `retention.run`, on taskiq's own broker."""

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Unpack, cast

import pytest
import pytest_asyncio
from taskiq import TaskiqScheduler
from tests.deadlines import HANG

from kiqstart import (
    ArgumentsMiddleware,
    BaseTasksRegistry,
    InvalidTaskArgumentsError,
    RetentionTask,
    TaskReference,
    WiringError,
)
from kiqstart.broker import DelayingInMemoryBroker
from kiqstart.retention import (
    RetentionEngine,
    RetentionPolicies,
    RetentionPolicy,
    RetentionReport,
    RunLimits,
    RunOptions,
    ScanKind,
)
from kiqstart.scheduler import CronSchedule, DurableScheduleSource, StaticSchedules, check_schedules
from todo_service.core.todo.models import Todo


class TaskName(StrEnum):
    RETENTION_RUN = "retention.run"


class Tasks(BaseTasksRegistry):
    retention_run = TaskReference(TaskName.RETENTION_RUN, RetentionTask.run)


class Engine:
    """Stands in for the engine."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, RunOptions]] = []

    async def run(self, policy: RetentionPolicy, **options: Unpack[RunOptions]) -> RetentionReport:
        self.runs.append((policy.name, options))
        return RetentionReport(
            policy=policy.name,
            run_id=str(options.get("run_id")),
            scan=ScanKind.PAGES,
            reason="the policy has no cursor",
            deleted=5,
            batches=1,
            seconds=0.5,
            longest_batch=0.25,
        )


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest_asyncio.fixture
async def tasks(engine: Engine) -> AsyncGenerator[Tasks]:
    done = Todo.is_completed.is_(True)
    policies = RetentionPolicies(
        cast("RetentionEngine", engine),
        lambda: [RetentionPolicy(name=name, model=Todo, predicate=done) for name in ("orders", "logs")],
    )
    registry = Tasks(DelayingInMemoryBroker(await_inplace=True).with_middlewares(ArgumentsMiddleware()))
    registry.register([RetentionTask(policies=policies)], TaskName)
    yield registry
    await registry.broker.shutdown()


async def test_a_policy_is_run_by_its_name_with_the_options_of_a_clean_up(tasks: Tasks, engine: Engine) -> None:
    task = await tasks.retention_run.kiq("logs", row_limit=9, time_budget=2.5, shards=3)
    done = await task.result(timeout=HANG)
    assert (done.deleted, done.report and done.report.policy, done.preview) == (5, "logs", None)
    [(name, options)] = engine.runs
    assert (name, options.get("shards"), options.get("limits")) == ("logs", 3, RunLimits(rows=9, seconds=2.5))


async def test_a_name_that_no_policy_has_is_refused_where_it_is_sent(tasks: Tasks, engine: Engine) -> None:
    with pytest.raises(
        InvalidTaskArgumentsError, match=r"policy: .*no retention policy 'carts'; there are orders, logs"
    ):
        await tasks.retention_run.kiq("carts")
    assert engine.runs == []


def test_a_schedule_needs_a_line_only_and_its_options_are_checked(tasks: Tasks) -> None:
    def table(**arguments: object) -> StaticSchedules:
        return StaticSchedules(
            [CronSchedule(name="old-orders", task=TaskName.RETENTION_RUN, cron="0 3 * * *", arguments=arguments)]
        )

    check_schedules(table(policy="orders", row_limit=1000), tasks.broker)
    TaskiqScheduler(tasks.broker, [DurableScheduleSource(tasks.broker, table(policy="orders"))])
    with pytest.raises(WiringError, match="row_limit"):
        check_schedules(table(policy="orders", row_limit=0), tasks.broker)
    with pytest.raises(WiringError, match=r"test_task.py:\d+: schedule 'old-orders': .* no retention policy 'carts'"):
        check_schedules(table(policy="carts"), tasks.broker)
