import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.shapes import ROWS, SHAPES, Shape
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import WalkKind

BATCH_ROWS = 24
WALKS = [
    *(pytest.param(shape, WalkKind.KEY, id=f"{name}, by key") for name, shape in SHAPES.items() if shape.cursor),
    *(pytest.param(shape, WalkKind.PAGES, id=f"{name}, by pages") for name, shape in SHAPES.items()),
]


@pytest.mark.parametrize(("shape", "walk"), WALKS)
async def test_exactly_the_rows_of_the_policy_go(
    make_retention: EngineFactory, database: Database, shape: Shape, walk: WalkKind
) -> None:
    await database.fill(shape)
    before = await database.rows(shape.model)
    policy = shape.policy(walk)
    doomed = await database.rows(shape.model, policy.predicate)
    assert (len(before), len(doomed)) == (ROWS, shape.doomed)

    report = await make_retention(pace="full", batch_rows=BATCH_ROWS, batch_seconds=5).run(policy)

    assert await database.rows(shape.model) == before - doomed
    assert (report.deleted, report.walk, report.failed, report.skipped) == (shape.doomed, walk, 0, 0)
    # No batch is larger than it may be on average.
    assert report.batches >= -(-shape.doomed // BATCH_ROWS) if walk is WalkKind.KEY else report.batches > 1
