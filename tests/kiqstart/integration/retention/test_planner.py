import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from sqlalchemy import ColumnElement, exists, literal, or_
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.kiqstart.integration.retention.shapes import SHAPES
from tests.kiqstart.integration.retention.tables import Article, Event, Token, Visit

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.planner import ScanChoice
from kiqstart.retention.policy import RetentionPolicy, ScanKind

# Of the first 2,000 minutes of 2026 one row each, about seven to a page.
FILL = """
    INSERT INTO tokens (expires_at, note)
    SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1 minute', repeat('x', 1000)
    FROM generate_series(1, 2000) n ORDER BY
"""
HALF = datetime(2026, 1, 1, 16, 40, tzinfo=UTC)
QUARTER = datetime(2026, 1, 1, 8, 20, tzinfo=UTC)
END = datetime(2026, 2, 1, tzinfo=UTC)
FEW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


def old_tokens(cutoff: datetime = HALF, scan: ScanKind | None = None) -> RetentionPolicy:
    return RetentionPolicy(
        name="tokens", model=Token, predicate=Token.expires_at < cutoff, cursor=(Token.expires_at,), scan=scan
    )


async def choice(retention: RetentionEngine, policy: RetentionPolicy) -> ScanChoice:
    (made,) = await retention.check([policy])
    return made


@pytest.mark.parametrize(
    ("order", "cutoff", "scan"),
    [
        pytest.param("n", QUARTER, ScanKind.KEY, id="the heap follows the key"),
        pytest.param("n DESC", QUARTER, ScanKind.KEY, id="backwards"),
        pytest.param("n", HALF, ScanKind.KEY, id="half of a heap that follows it"),
        pytest.param("n DESC", HALF, ScanKind.PAGES, id="half of a heap that goes backwards"),
        pytest.param("md5(n::text)", HALF, ScanKind.PAGES, id="shuffled"),
        pytest.param("md5(n::text)", FEW, ScanKind.KEY, id="shuffled, but few rows go"),
    ],
)
async def test_the_cheaper_scan_is_chosen_and_the_reason_told(
    retention: RetentionEngine, database: Database, order: str, cutoff: datetime, scan: ScanKind
) -> None:
    await database.create(Token, f"{FILL} {order}", "ANALYZE tokens")
    made = await choice(retention, old_tokens(cutoff))
    assert made.kind is scan
    assert made.rows == pytest.approx({HALF: 1000, QUARTER: 500, FEW: 20}[cutoff], rel=0.2)
    assert "of 2,000 rows go" in made.reason
    assert "cost" in made.reason
    report = await retention.run(old_tokens(cutoff))
    assert (report.scan, report.reason) == (scan, made.reason)


async def test_equal_values_are_looked_for_and_so_have_their_price(
    retention: RetentionEngine, database: Database
) -> None:
    await database.create(
        Token,
        "INSERT INTO tokens (expires_at) SELECT timestamptz '2026-01-01' FROM generate_series(1, 12000)",
        "INSERT INTO tokens (expires_at)"
        " SELECT timestamptz '2027-01-01' + n * interval '1 s' FROM generate_series(1, 9000) n",
        "ANALYZE tokens",
    )
    made = await choice(retention, old_tokens())
    assert (made.kind, "heap follows 'expires_at' by 1.00" in made.reason) == (ScanKind.PAGES, True)


async def test_only_partitions_that_may_have_rows_count_in_the_price_of_the_pages(
    retention: RetentionEngine, database: Database
) -> None:
    months = [f"2026-{month:02}-01 00:00+00" for month in range(1, 12)]
    await database.create(
        Event,
        *(
            f"CREATE TABLE events_{number} PARTITION OF events FOR VALUES FROM ('{begin}') TO ('{end}')"
            for number, (begin, end) in enumerate(pairwise(months))
        ),
        *(
            f"INSERT INTO events (id, at, body) SELECT n, timestamptz '{begin}' + n * interval '10 minutes',"  # noqa: S608 - made of constants
            " repeat('x', 1000) FROM generate_series(1, 2000) n ORDER BY md5(n::text)"
            for begin in months[:-1]
        ),
        "ANALYZE events",
    )
    made = await choice(
        retention,
        RetentionPolicy(
            name="events", model=Event, predicate=Event.at < datetime(2026, 1, 8, tzinfo=UTC), cursor=(Event.at,)
        ),
    )
    assert made.kind is ScanKind.PAGES, made.reason
    assert made.size.share == pytest.approx(0.1, rel=0.1)


async def test_the_price_of_a_page_read_is_the_servers(retention: RetentionEngine, database: Database) -> None:
    await database.create(Token, f"{FILL} md5(n::text)", "ANALYZE tokens")
    name = await database.value("SELECT quote_ident(current_database())")
    database.drop_after.append(f"ALTER DATABASE {name} RESET random_page_cost")
    await database.execute(f"ALTER DATABASE {name} SET random_page_cost = 0.01")
    await database.engine.dispose()
    assert (await choice(retention, old_tokens())).kind is ScanKind.KEY


async def test_rows_that_are_looked_at_and_stay_have_their_price(
    retention: RetentionEngine, database: Database
) -> None:
    await database.create(Token, f"{FILL} n", "ANALYZE tokens")
    few = RetentionPolicy(
        name="tokens",
        model=Token,
        predicate=(Token.expires_at < END) & (Token.id % 1000 == 0),
        cursor=(Token.expires_at,),
    )
    made = await choice(retention, few)
    assert made.kind is ScanKind.PAGES
    assert "about 2,000 lie before its end in the index" in made.reason


async def test_a_table_that_was_never_analysed_is_gone_through_by_its_index(
    retention: RetentionEngine, database: Database
) -> None:
    await database.create(Token, f"{FILL} md5(n::text)")
    made = await choice(retention, old_tokens())
    assert (made.kind, "never analysed" in made.reason) == (ScanKind.KEY, True)


@BOTH_SCANS
async def test_the_policy_has_the_last_word(retention: RetentionEngine, database: Database, scan: ScanKind) -> None:
    for order in ("n", "md5(n::text)"):
        await database.create(Token, f"{FILL} {order}", "ANALYZE tokens")
        made = await choice(retention, old_tokens(scan=scan))
        assert (made.kind, made.reason) == (scan, "the policy asks for it")
        await database.drop(Token)


async def test_the_pages_need_no_index(retention: RetentionEngine, database: Database) -> None:
    await database.create(Token, "DROP INDEX ix_tokens_expires_at", f"{FILL} n", "ANALYZE tokens")
    made = await choice(retention, old_tokens())
    assert made.kind is ScanKind.PAGES
    assert "no index" in made.reason
    assert (await retention.run(old_tokens())).deleted == 999
    without_cursor = RetentionPolicy(name="tokens", model=Token, predicate=Token.expires_at < HALF)
    made = await choice(retention, without_cursor)
    assert (made.kind, made.reason) == (ScanKind.PAGES, "the policy has no cursor")


MISSING = {
    "tokens": (SHAPES["integer key"], Token, "DROP INDEX ix_tokens_expires_at"),
    "events": (SHAPES["partitioned, cursor on time"], Event, "DROP INDEX ix_events_at"),
    "visits": (SHAPES["names to be quoted"], Visit, 'DROP INDEX "Analytics"."ix_Analytics_Visits of ""all""_from"'),
}


@pytest.mark.parametrize("name", MISSING)
async def test_the_statement_in_the_error_makes_the_index_that_is_missing(
    retention: RetentionEngine, database: Database, name: str
) -> None:
    shape, model, drop = MISSING[name]
    await database.fill(shape)
    await database.execute(drop)
    before = await database.rows(model)
    policy = shape.policy(ScanKind.KEY)
    with pytest.raises(PolicyError) as caught:
        await retention.check([policy])
    with pytest.raises(PolicyError, match=re.escape(str(caught.value))):
        await retention.preview(policy)
    with pytest.raises(PolicyError, match=re.escape(str(caught.value))):
        await retention.run(policy)
    assert await database.rows(model) == before
    statements = str(caught.value).split("`")[1::2]
    assert statements[0].startswith("CREATE INDEX")
    assert ("CONCURRENTLY" in statements[0]) is (model is not Event)
    await database.alone(statements[0])
    assert (await retention.run(policy)).deleted == shape.doomed


@pytest.mark.parametrize(
    ("where", "leads"),
    [
        ("deleted_at IS NOT NULL", True),
        ("id >= 0", True),
        ("id > 0", False),
        ("deleted_at > '2026-01-01'", False),
    ],
)
async def test_a_partial_index_leads_to_the_rows_if_it_has_them_all(
    retention: RetentionEngine, database: Database, where: str, leads: bool
) -> None:
    shape = SHAPES["nullable cursor with a partial index"]
    await database.fill(shape)
    await database.execute("DROP INDEX articles_deleted", f"CREATE INDEX ON articles (deleted_at) WHERE {where}")
    policy = RetentionPolicy(
        name="articles",
        model=Article,
        predicate=shape.predicate & (Article.id >= 0),
        cursor=(Article.deleted_at,),
        scan=ScanKind.KEY,
    )
    if leads:
        assert (await retention.run(policy)).deleted == shape.doomed
    else:
        with pytest.raises(PolicyError, match="CREATE INDEX CONCURRENTLY ON articles"):
            await retention.run(policy)


async def test_an_index_that_begins_otherwise_does_not_lead_along_the_cursor(
    retention: RetentionEngine, database: Database
) -> None:
    await database.create(Token, "DROP INDEX ix_tokens_expires_at", "CREATE INDEX ON tokens (note, expires_at)")
    with pytest.raises(PolicyError, match="CREATE INDEX CONCURRENTLY ON tokens"):
        await retention.check([old_tokens(scan=ScanKind.KEY)])


@pytest.mark.parametrize(
    "predicate",
    [
        Article.id < 100,
        or_(Article.deleted_at < HALF, Article.id < 100),
        Article.deleted_at.is_(None),
        exists().where(Token.expires_at < Article.deleted_at),
    ],
)
@pytest.mark.parametrize("scan", [None, ScanKind.KEY])
async def test_a_cursor_that_may_be_null_is_refused(
    retention: RetentionEngine, predicate: ColumnElement[bool], scan: ScanKind | None
) -> None:
    policy = RetentionPolicy(
        name="articles", model=Article, predicate=predicate, cursor=(Article.deleted_at,), scan=scan
    )
    with pytest.raises(PolicyError, match="'articles': column 'deleted_at' may be NULL") as caught:
        await retention.check([policy])
    assert "`deleted_at IS NOT NULL`" in str(caught.value)


@pytest.mark.parametrize(
    "predicate",
    [
        Article.deleted_at < HALF,
        literal(HALF) > Article.deleted_at,
        Article.deleted_at.is_not(None) & or_(Article.id < 100, Article.id > 200),
        (Article.id < 100) & ((Article.id > 50) & (Article.deleted_at == HALF)),
    ],
)
async def test_a_cursor_that_the_predicate_says_is_not_null_will_do(
    retention: RetentionEngine, database: Database, predicate: ColumnElement[bool]
) -> None:
    await database.fill(SHAPES["nullable cursor with a partial index"])
    policy = RetentionPolicy(
        name="articles", model=Article, predicate=predicate, cursor=(Article.deleted_at,), scan=ScanKind.KEY
    )
    doomed = await database.rows(Article, predicate)
    assert (await retention.run(policy)).deleted == len(doomed)


async def test_a_scan_along_a_key_needs_a_cursor(retention: RetentionEngine) -> None:
    policy = RetentionPolicy(name="tokens", model=Token, predicate=Token.expires_at < HALF, scan=ScanKind.KEY)
    with pytest.raises(PolicyError, match="needs a cursor"):
        await retention.check([policy])


@pytest.mark.usefixtures("completed")
async def test_each_policy_is_checked(retention: RetentionEngine) -> None:
    choices = await retention.check([completed_todos(ScanKind.KEY), completed_todos(ScanKind.PAGES)])
    assert [one.kind for one in choices] == [ScanKind.KEY, ScanKind.PAGES]
    with pytest.raises(PolicyError):
        await retention.check(
            [
                completed_todos(None),
                RetentionPolicy(name="broken", model=Article, predicate=Article.id < 0, cursor=(Article.deleted_at,)),
            ]
        )
