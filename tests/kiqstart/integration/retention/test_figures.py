"""What clean-ups have done is counted as they do it, each batch once, whoever committed it."""

import asyncio
import time

import pytest
from tests.kiqstart.integration.retention.policies import completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.observability.process_counts import PROCESS_COUNTS
from kiqstart.retention.count_names import BACKLOG, BATCHES, LAST_SUCCESS, MICROSECONDS, ROWS, RUNS, SECTION
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.run_options import RunLimits


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    PROCESS_COUNTS.take(SECTION)


@pytest.mark.usefixtures("completed")
async def test_rows_batches_and_runs_are_counted_with_what_is_left(make_retention: EngineFactory) -> None:
    engine, policy = make_retention(batch_rows=50), completed_todos(ScanKind.PAGES)
    limited = await engine.run(policy, limits=RunLimits(rows=120))
    counts, values = PROCESS_COUNTS.take(SECTION)
    name = policy.name
    assert (counts[f"{name}\n{ROWS}"], counts[f"{name}\n{BATCHES}"]) == (120, limited.batches)
    assert counts[f"{name}\n{MICROSECONDS}"] > 0
    assert counts[f"{name}\n{RUNS}row limit"] == 1
    assert values[f"{name}\n{BACKLOG}"] > 0
    assert f"{name}\n{LAST_SUCCESS}" not in values
    whole = await engine.run(policy)
    counts, values = PROCESS_COUNTS.take(SECTION)
    assert (counts[f"{name}\n{ROWS}"], counts[f"{name}\n{BATCHES}"]) == (380, whole.batches)
    assert counts[f"{name}\n{RUNS}end"] == 1
    assert values[f"{name}\n{BACKLOG}"] == 0
    assert abs(values[f"{name}\n{LAST_SUCCESS}"] - time.time()) < 60


@pytest.mark.usefixtures("completed")
async def test_what_several_workers_do_of_one_run_is_counted_once(make_retention: EngineFactory) -> None:
    policy = completed_todos(ScanKind.PAGES)
    helpers: list[asyncio.Task[None]] = []

    async def invite(others: int) -> None:
        for _ in range(others):
            helper = make_retention(batch_rows=20)
            helpers.append(asyncio.create_task(helper.join(policy, "shared")))

    report = await make_retention(batch_rows=20).run(policy, run_id="shared", shards=2, invite=invite)
    await asyncio.gather(*helpers)
    counts, _ = PROCESS_COUNTS.take(SECTION)
    assert counts[f"{policy.name}\n{ROWS}"] == report.deleted == 500
    assert counts[f"{policy.name}\n{RUNS}end"] == 1
