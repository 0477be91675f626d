"""Rows of the retention journal: what says where a clean-up stands."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fuzz.judge import judged_log
from tests.fuzz.odd import JSON, NUMBERS, TEXTS, changed
from tests.fuzz.surface import Ground, Surface
from tests.kiqstart.integration.retention.policies import completed_todos
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import WalkKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.state import PieceState
from kiqstart.retention.walk import Interval
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
VALUES ('todos', :run_id, :piece, :pieces, :walk, :reason, :basis, :resumed, :total, :row_limit, cast(:state AS jsonb),
    NULL, :stopped, :taken_on, cast(cast(:started_at AS text) AS timestamptz),
    cast(cast(:heartbeat_at AS text) AS timestamptz))
""")
_SOUND: Final = PieceState(todo=(Interval(None, ("20",)),), share=(Interval(None, ("40",)),)).to_json()
_TIMES: Final = st.sampled_from(
    ["now", "-infinity", "infinity", "0001-01-01", "294276-12-31", "2026-01-01", "tomorrow"]
)
_COUNTS_OF_ROWS: Final = st.sampled_from([0, 1, -1, 2**31 - 1, 64])
_POSITIONS: Final = st.lists(TEXTS | st.sampled_from(["5", "20", "(0,1)"]), max_size=3) | JSON
_INTERVALS: Final = changed(
    {"after": None, "upto": ["20"], "lines": None}, {"after": _POSITIONS, "upto": _POSITIONS, "lines": JSON}
)
_STATES: Final = (
    changed(
        _SOUND,
        {
            **dict.fromkeys(("todo", "share"), st.lists(_INTERVALS, max_size=2) | JSON),
            "locked": st.lists(
                changed({"interval": None, "rows": 1}, {"interval": _INTERVALS, "rows": NUMBERS}), max_size=2
            ),
            **dict.fromkeys(("deleted", "batches", "failed", "waited", "time_limit", "longest_batch"), NUMBERS | JSON),
            **dict.fromkeys(("failures", "cost", "partitions", "held", "covers", "waited_for"), JSON),
        },
    )
    | JSON
)


@dataclass(frozen=True)
class Row:
    """A row of the table, with what else its columns take."""

    state: Any
    columns: dict[str, Any]


_INPUTS: Final = st.lists(
    st.builds(
        Row,
        _STATES | st.just(_SOUND),
        st.fixed_dictionaries(
            {
                "run_id": st.sampled_from(["one", "two"]) | TEXTS,
                "piece": _COUNTS_OF_ROWS,
                "pieces": _COUNTS_OF_ROWS,
                "walk": st.sampled_from([*WalkKind, *WalkKind, "", "nobody's\x1b[2J"]),
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
    max_size=3,
)


def _storable(value: str) -> str:
    return value.replace("\0", "")[:2000]


async def _put(pool: AsyncEngine, row: Row) -> None:
    columns = {name: _storable(value) if isinstance(value, str) else value for name, value in row.columns.items()}
    # What PostgreSQL does not take has not arrived.
    with suppress(DBAPIError, UnicodeEncodeError):
        async with pool.begin() as connection:
            await connection.execute(_INSERT, {**columns, "state": json.dumps(row.state)})


async def _left(pool: AsyncEngine) -> tuple[int, int]:
    async with pool.connect() as connection:
        done, live = (await connection.execute(_COUNTS)).one()
    return done, live


async def _clean(ground: Ground, rows: list[Row]) -> None:
    pool = create_engine(database_settings(ground.database_url))
    retention = EngineFactory(create_session_factory(pool))(batch_rows=10)
    async with pool.begin() as connection:
        await connection.execute(_EMPTY)
        await connection.execute(_ROWS)
    for row in rows:
        await _put(pool, row)
    for run_id in ("one", None):
        # A row that cannot be read ends a run that would go on with it, in whichever way.
        with suppress(Exception):
            async with asyncio.timeout(30):
                await retention.run(completed_todos(None), run_id=run_id)
        assert (await _left(pool))[1] == 20, "rows are gone that were none of the policy's"
    others = replace(completed_todos(None), name="others")
    assert (await retention.run(others)).stopped is StopReason.END
    assert await _left(pool) == (0, 20)
    async with pool.begin() as connection:
        await connection.execute(_EMPTY)
    await pool.dispose()


def _try_out(ground: Ground, rows: list[Row]) -> None:
    with judged_log():
        asyncio.run(_clean(ground, rows))


SURFACE: Final = Surface(name="journal", inputs=_INPUTS, try_out=_try_out, size=len, examples=4)
