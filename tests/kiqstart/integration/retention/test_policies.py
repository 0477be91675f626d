from dataclasses import replace

import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import SCANS
from tests.kiqstart.integration.retention.shapes import ROWS, SHAPES, Shape
from tests.kiqstart.integration.retention.tables import Narrow
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason

BATCH_ROWS = 24


@pytest.mark.parametrize("shape", [pytest.param(shape, id=name) for name, shape in SHAPES.items()])
async def test_exactly_the_rows_of_the_policy_go(
    make_retention: EngineFactory, database: Database, shape: Shape
) -> None:
    retention = make_retention(pace="full", batch_rows=BATCH_ROWS, batch_seconds=5)
    for scan in SCANS if shape.cursor else [ScanKind.PAGES]:
        await database.fill(shape)
        before = await database.rows(shape.model)
        policy = shape.policy(scan)
        doomed = await database.rows(shape.model, policy.predicate)
        assert (len(before), len(doomed)) == (ROWS, shape.doomed)

        report = await retention.run(policy)

        assert await database.rows(shape.model) == before - doomed
        assert (report.deleted, report.scan, report.failed, report.skipped) == (shape.doomed, scan, 0, 0)
        # No batch is larger than it may be on average.
        assert report.batches >= -(-shape.doomed // BATCH_ROWS) if scan is ScanKind.KEY else report.batches > 1
        await database.drop(shape.model)


async def test_values_are_told_apart_as_postgresql_does_it(make_retention: EngineFactory, database: Database) -> None:
    retention = make_retention(batch_rows=BATCH_ROWS, batch_seconds=5)
    rounds = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {}', current_database()); END $$"
    await database.execute(rounds.format("SET extra_float_digits = -9"))
    database.drop_after.insert(0, rounds.format("RESET extra_float_digits"))
    await database.engine.dispose()
    await database.fill(SHAPES["array cursor"])
    # Of what an array's histogram has, no elements of arrays are shared out; some lie past a rounded end.
    await database.execute("ALTER TABLE narrow ALTER number TYPE float8", "UPDATE narrow SET number = number / 17.0")
    await database.execute("ANALYZE narrow")
    for name in ("array cursor", "other numbers than in the model"):
        shape = replace(SHAPES[name], predicate=Narrow.id.between(*((0, 75) if "array" in name else (76, 400))))
        report = await retention.run(shape.policy(ScanKind.KEY), shards=3)
        assert (report.deleted, report.stopped) == (75 if "array" in name else 325, StopReason.END)


async def test_equal_values_that_are_written_otherwise_are_cut_into_batches(
    make_retention: EngineFactory, database: Database
) -> None:
    shape = replace(SHAPES["numeric cursor"], values="n, CASE n % 2 WHEN 0 THEN 0.1 ELSE 0.10 END, 0")
    await database.fill(shape)
    report = await make_retention(batch_rows=BATCH_ROWS, batch_seconds=5).run(shape.policy(ScanKind.KEY))
    assert (report.deleted, report.stopped) == (ROWS, StopReason.END)
    assert report.batches > 1
