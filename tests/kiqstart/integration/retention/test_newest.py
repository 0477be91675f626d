import asyncio

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import aliased
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS
from tests.kiqstart.integration.retention.tables import Token
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.run_options import RunLimits

# Of 7 groups, in no order, and with equal moments in each.
FILL = """
    INSERT INTO tokens (expires_at, note)
    SELECT timestamptz '2026-01-01' + (n * 7919 % 60) * interval '1 hour', 'group ' || n % 7
    FROM generate_series(1, 400) n
"""
LAST_THREE = """
    SELECT string_agg(id::text, ' ' ORDER BY id)
    FROM (
        SELECT id, row_number() OVER (PARTITION BY note ORDER BY expires_at DESC, id DESC) AS number FROM tokens
    ) AS numbered
    WHERE number <= 3
"""


@BOTH_SCANS
async def test_the_newest_of_each_group_stay(make_retention: EngineFactory, database: Database, scan: ScanKind) -> None:
    await database.create(Token, FILL, "ANALYZE tokens")
    newest = await database.value(LAST_THREE)
    newer = aliased(Token)
    is_newer = tuple_(newer.expires_at, newer.id) > tuple_(Token.expires_at, Token.id)
    count = select(func.count()).where(newer.note == Token.note, is_newer).scalar_subquery()
    policy = RetentionPolicy(
        name="all but three", model=Token, predicate=count >= 3, cursor=(Token.expires_at,), scan=scan
    )
    retention = make_retention(batch_rows=7)
    planned = (await retention.preview(policy)).rows

    limited = await retention.run(policy, limits=RunLimits(rows=40))
    one, other = await asyncio.gather(retention.run(policy, run_id="a", shards=3), retention.run(policy, run_id="b"))

    assert limited.deleted + one.deleted + other.deleted == planned == 400 - 21
    assert await database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM tokens") == newest
