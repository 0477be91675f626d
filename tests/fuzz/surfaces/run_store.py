"""Rows of the retention run store: what says where a clean-up stands, and whoever reads that."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
from tests.fuzz.judge import judged_log
from tests.fuzz.odd import BYTES, JSON, NUMBERS, TEXTS, changed
from tests.fuzz.run_readers import RunReaders
from tests.fuzz.surface import Ground, Surface
from tests.kiqstart.integration.retention.policies import completed_todos
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.errors import UnreadableRunError
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.scan import Interval
from kiqstart.retention.state import ShardState
from todo_service.infrastructure.database.engine import create_engine, create_session_factory

_ROWS: Final = text("""
WITH ada AS (INSERT INTO users (username, email) VALUES ('ada', 'ada@example.org') RETURNING id)
INSERT INTO todos (user_id, title, is_completed, completed_at)
SELECT id, 'todo ' || n, n % 2 = 0, CASE WHEN n % 2 = 0 THEN now() END FROM ada, generate_series(1, 40) AS n
""")
_EMPTY: Final = text("TRUNCATE users, todos, refresh_sessions, retention_runs, retention_undeletable")
_COUNTS: Final = text(
    "SELECT count(*) FILTER (WHERE is_completed), count(*) FILTER (WHERE NOT is_completed) FROM todos"
)
_INSERT: Final = text("""
INSERT INTO retention_runs (policy, run_id, piece, pieces, walk, reason, basis, resumed, total, row_limit, state, owner,
    stopped, taken_on, started_at, heartbeat_at)
VALUES (:policy, :run_id, :piece, :pieces, :walk, :reason, :basis, :resumed, :total, :row_limit, cast(:state AS jsonb),
    cast(cast(:owner AS text) AS uuid), :stopped, :taken_on, cast(cast(:started_at AS text) AS timestamptz),
    cast(cast(:heartbeat_at AS text) AS timestamptz))
""")
_UNDELETABLE: Final = text("""
INSERT INTO retention_undeletable (policy, key, error, tried_at)
VALUES (:policy, :key, :error, cast(cast(:tried_at AS text) AS timestamptz))
""")
_BESIDE: Final = "beside"
_SOUND: Final = ShardState(todo=(Interval(None, ("20",)),), share=(Interval(None, ("40",)),)).to_json()
_TIMES: Final = st.sampled_from(
    ["now", "-infinity", "infinity", "0001-01-01", "294276-12-31", "2026-01-01", "tomorrow", "4713-01-01 BC"]
)
_COUNTS_OF_ROWS: Final = st.sampled_from([0, 1, -1, 2**31 - 1, 64])
_POSITIONS: Final = st.lists(TEXTS | st.sampled_from(["5", "20", "(0,1)"]), max_size=3) | JSON
_INTERVALS: Final = changed(
    {"after": None, "upto": ["20"], "lines": None}, {"after": _POSITIONS, "upto": _POSITIONS, "lines": JSON}
)
# PostgreSQL keeps numbers as they are, also those that Python does not read.
_COUNTED: Final = NUMBERS | st.sampled_from([10**400, -(10**400), 2**63 - 1, 1e308])
_RAW: Final = st.sampled_from(
    [
        *('{"todo": [], "deleted": 1e5000}', '{"todo": [], "covers": 1e5000}', '{"todo": [], "failed": -1e5000}'),
        *("[" * 1500 + "]" * 1500, '{"todo": ' + "[" * 1500 + "]" * 1500 + "}", "1e100000", '{"todo": [], "todo": 5}'),
    ]
)
_STATES: Final = (
    changed(
        _SOUND,
        {
            **dict.fromkeys(("todo", "share"), st.lists(_INTERVALS, max_size=2) | JSON),
            "locked": st.lists(
                changed({"interval": None, "rows": 1}, {"interval": _INTERVALS, "rows": NUMBERS}), max_size=2
            ),
            **dict.fromkeys(("deleted", "batches", "failed", "given_up"), _COUNTED | JSON),
            **dict.fromkeys(("waited", "time_limit", "longest_batch"), NUMBERS | JSON),
            **dict.fromkeys(("failures", "cost", "partitions", "held", "covers", "waited_for"), JSON),
        },
    )
    | JSON
)


@dataclass(frozen=True)
class Row:
    """A row of the table: its state as JSON, with what else its columns take."""

    state: str
    columns: dict[str, Any]


@dataclass(frozen=True)
class Odd:
    """What strangers have written.

    Args:
        undeletable: rows of the table of those that cannot go.
        counts: what is counted of clean-ups in Redis.
    """

    rows: list[Row]
    undeletable: list[dict[str, str]]
    counts: dict[bytes, bytes]


_POLICIES: Final = st.sampled_from(["todos", "completed_todos", "expired_sessions"]) | TEXTS
_ROWS_OF_RUNS: Final = st.lists(
    st.builds(
        Row,
        (_STATES | st.just(_SOUND)).map(json.dumps) | _RAW,
        st.fixed_dictionaries(
            {
                "policy": st.just("todos") | _POLICIES,
                "owner": st.sampled_from([None, "00000000-0000-0000-0000-000000000000"]),
                "run_id": st.sampled_from(["one", "two"]) | TEXTS,
                "piece": _COUNTS_OF_ROWS,
                "pieces": _COUNTS_OF_ROWS,
                "walk": st.sampled_from([*ScanKind, *ScanKind, "", "nobody's\x1b[2J"]),
                "reason": TEXTS,
                "basis": TEXTS | st.just(""),
                "resumed": st.booleans(),
                "total": st.sampled_from([0, -1, 2**62]),
                "row_limit": st.sampled_from([None, 0, -5, 2**62]),
                "stopped": st.sampled_from([None, None, "end", "odd\n"]),
                "taken_on": st.booleans(),
                "started_at": _TIMES,
                "heartbeat_at": _TIMES,
            }
        ),
    ),
    min_size=1,
    max_size=8,
)
_INPUTS: Final = st.builds(
    Odd,
    _ROWS_OF_RUNS,
    st.lists(
        st.fixed_dictionaries({"policy": _POLICIES, "key": TEXTS, "error": TEXTS, "tried_at": _TIMES}), max_size=2
    ),
    st.dictionaries(
        st.builds(
            bytes.__add__,
            _POLICIES.map(str.encode) | BYTES,
            st.sampled_from(
                [b"\nrows", b"\nus", b"\nruns:end", b"\nruns:\x1b[2J", b"\nbacklog", b"\nlast_success", b""]
            ),
        ),
        BYTES,
        max_size=3,
    ),
)


def _storable(value: str) -> str:
    return value.replace("\0", "")[:2000]


async def _insert(pool: AsyncEngine, statement: TextClause, columns: dict[str, Any], **others: str) -> None:
    storable = {name: _storable(value) if isinstance(value, str) else value for name, value in columns.items()}
    # What PostgreSQL does not take has not arrived.
    with suppress(DBAPIError, UnicodeEncodeError):
        async with pool.begin() as connection:
            await connection.execute(statement, {**storable, **others})


async def _put(pool: AsyncEngine, odd: Odd) -> None:
    for row in odd.rows:
        await _insert(pool, _INSERT, row.columns, state=row.state)
    for columns in odd.undeletable:
        await _insert(pool, _UNDELETABLE, columns)


async def _left(pool: AsyncEngine) -> tuple[int, int]:
    async with pool.connect() as connection:
        done, live = (await connection.execute(_COUNTS)).one()
    return done, live


@asynccontextmanager
async def _connected(ground: Ground) -> AsyncGenerator[AsyncEngine]:
    pool = create_engine(database_settings(ground.database_url))
    try:
        yield pool
    finally:
        await pool.dispose()


async def _show(readers: RunReaders, odd: Odd) -> None:
    async with _connected(readers.ground) as pool:
        async with pool.begin() as connection:
            await connection.execute(_EMPTY)
        beside = replace(completed_todos(None), name=readers.sound)
        await EngineFactory(create_session_factory(pool))().run(beside, run_id="sound")
        await _put(pool, odd)
        await readers.browse(pool)


async def _clean(ground: Ground, odd: Odd) -> None:
    async with _connected(ground) as pool:
        retention = EngineFactory(create_session_factory(pool))(batch_rows=10)
        async with pool.begin() as connection:
            await connection.execute(_EMPTY)
            await connection.execute(_ROWS)
        await _put(pool, odd)
        for run_id in ("one", None):
            # A row that cannot be read ends a run that would go on with it, in whichever way.
            with suppress(UnreadableRunError, DBAPIError):
                async with asyncio.timeout(HANG):
                    await retention.run(completed_todos(None), run_id=run_id)
            assert (await _left(pool))[1] == 20, "rows are gone that were none of the policy's"
        others = replace(completed_todos(None), name="others")
        assert (await retention.run(others)).stopped is StopReason.END
        assert await _left(pool) == (0, 20)
        async with pool.begin() as connection:
            await connection.execute(_EMPTY)


def _try_out(ground: Ground, odd: Odd) -> None:
    readers = RunReaders(ground=ground, prefix=ground.new_prefix(), counts=odd.counts, sound=_BESIDE)
    with judged_log():
        asyncio.run(_show(readers, odd))
        readers.run_commands(ground.folder)
        asyncio.run(readers.forget())
        asyncio.run(_clean(ground, odd))


SURFACE: Final = Surface(
    name="run-store",
    inputs=_INPUTS,
    try_out=_try_out,
    size=lambda odd: len(odd.rows) + len(odd.undeletable) + len(odd.counts),
    examples=4,
)
