"""The rows that the demo works on."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_CHUNK: Final = 20_000
_MOST_USERS: Final = 4_000
_ROWS_PER_USER: Final = 50
# Coprime to most numbers; `_stride` sees to the rest.
_STRIDE: Final = 7_368_787

_USERS: Final = """
INSERT INTO users (username, email, is_active, created_at)
SELECT 'user-' || n, 'user-' || n || '@example.com', n % 10 <> 0, now() - interval '1 year'
FROM generate_series(1, :users) AS n
"""

# `kind` takes every value from 0 to the number of rows once, in mixed order, so that rows of all kinds lie side by side
# as they do in a table that has grown. Expiries keep an hour's distance from every limit that a clean-up goes by.
_SESSIONS: Final = """
INSERT INTO refresh_sessions
    (user_id, refresh_token_hash, user_agent, ip_address, created_at, last_used_at, expires_at, revoked_at)
SELECT
    (CAST(:users AS bigint[]))[1 + n % cardinality(CAST(:users AS bigint[]))],
    sha256(convert_to('demo ' || n, 'UTF8')),
    'Mozilla/5.0 (X11; Linux x86_64)',
    inet '192.0.2.0' + (n % 256),
    expires_at - interval '30 days',
    expires_at - interval '29 days',
    expires_at,
    CASE WHEN kind >= :expired_long_ago + :expired AND kind % 10 = 0 THEN now() - interval '1 hour' END
FROM (
    SELECT n, kind, date_trunc('second', now()) + CASE
        WHEN kind < :expired_long_ago THEN interval '-30 days -1 hour' - (kind % 300) * interval '1 day'
        WHEN kind < :expired_long_ago + :expired THEN interval '-1 hour' - (kind % 29) * interval '1 day'
        ELSE interval '1 hour' + (kind % 29) * interval '1 day'
    END AS expires_at
    FROM (
        SELECT n, n * :stride % :total AS kind FROM generate_series(CAST(:first AS bigint), :last) AS n
    ) AS numbers
) AS sessions
"""

_TODOS: Final = """
INSERT INTO todos (user_id, title, is_completed, completed_at, created_at)
SELECT
    CASE WHEN kind >= :completed AND kind % 4 = 0
        THEN (CAST(:inactive AS bigint[]))[1 + n % cardinality(CAST(:inactive AS bigint[]))]
        ELSE (CAST(:active AS bigint[]))[1 + n % cardinality(CAST(:active AS bigint[]))]
    END,
    'Water plant ' || n,
    kind < :completed OR kind % 4 = 0,
    CASE WHEN kind < :completed OR kind % 4 = 0 THEN now() - interval '1 day' END,
    now() - interval '40 days'
FROM (
    SELECT n, n * :stride % :total AS kind FROM generate_series(CAST(:first AS bigint), :last) AS n
) AS numbers
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many rows of each kind are written.

    Sessions: some expired more than 30 days ago, some since then, as many do not expire yet, of which each tenth is
    revoked. Todos: some are completed by active users; of as many others, three quarters are open and a quarter
    completed by inactive users.
    """

    users: int
    sessions_expired_long_ago: int
    sessions_expired: int
    todos_completed: int

    @classmethod
    def of(cls, rows: int) -> "Plan":
        """Share out `rows` rows to delete; as many are kept."""
        return cls(
            users=max(10, min(_MOST_USERS, rows // _ROWS_PER_USER)),
            sessions_expired_long_ago=rows * 2 // 5,
            sessions_expired=rows // 10,
            todos_completed=rows - rows * 2 // 5 - rows // 10,
        )

    @property
    def kept(self) -> int:
        """Rows that no clean-up may delete."""
        return self.sessions_expired_long_ago + self.sessions_expired + self.todos_completed

    @property
    def sessions(self) -> int:
        """All sessions."""
        return 2 * (self.sessions_expired_long_ago + self.sessions_expired)

    @property
    def todos(self) -> int:
        """All todos."""
        return 2 * self.todos_completed


async def write_rows(engine: AsyncEngine, plan: Plan, on_written: Callable[[int], None]) -> None:
    """Write the rows into empty tables, and call `on_written` with their number so far after each chunk."""
    written = 0

    def count(rows: int) -> None:
        nonlocal written
        written += rows
        on_written(written)

    async with engine.begin() as connection:
        await connection.execute(text(_USERS), {"users": plan.users})
        users = await connection.execute(text("SELECT id, is_active FROM users ORDER BY id"))
        is_active: dict[int, bool] = {row.id: row.is_active for row in users}
    sessions = {
        "users": list(is_active),
        "expired_long_ago": plan.sessions_expired_long_ago,
        "expired": plan.sessions_expired,
    }
    todos = {
        "active": [user for user, active in is_active.items() if active],
        "inactive": [user for user, active in is_active.items() if not active],
        "completed": plan.todos_completed,
    }
    await asyncio.gather(
        _write_chunks(engine, _SESSIONS, sessions, plan.sessions, count),
        _write_chunks(engine, _TODOS, todos, plan.todos, count),
    )
    async with engine.begin() as connection:
        await connection.execute(text("ANALYZE"))


async def _write_chunks(
    engine: AsyncEngine, insert: str, parameters: Mapping[str, object], total: int, on_written: Callable[[int], None]
) -> None:
    for first in range(0, total, _CHUNK):
        last = min(first + _CHUNK, total) - 1
        chunk = {"first": first, "last": last, "total": total, "stride": _stride(total)}
        async with engine.begin() as connection:
            await connection.execute(text(insert), {**parameters, **chunk})
        on_written(last - first + 1)


def _stride(total: int) -> int:
    """A number whose multiples, modulo `total`, go through all numbers below it once."""
    return next(stride for stride in range(_STRIDE, 2 * _STRIDE) if math.gcd(stride, total) == 1)
