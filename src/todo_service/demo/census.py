"""Counting in the database, to check what the tasks report."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

# Written out here and not taken from the repositories: what is checked must not check itself.
_COUNT: Final = """
SELECT
    (SELECT count(*) FROM users WHERE is_active) AS active_users,
    (SELECT count(*) FROM refresh_sessions) AS sessions,
    (SELECT count(*) FROM refresh_sessions WHERE expires_at < now() - interval '30 days') AS sessions_expired_long_ago,
    (SELECT count(*) FROM refresh_sessions WHERE expires_at < now()) AS sessions_expired,
    (SELECT count(*) FROM todos) AS todos,
    (SELECT count(*) FROM todos JOIN users ON users.id = todos.user_id WHERE is_completed AND is_active)
        AS todos_completed_by_active_users
"""


@dataclass(frozen=True, kw_only=True)
class Census:
    """How many rows of each kind there are."""

    active_users: int
    sessions: int
    sessions_expired_long_ago: int
    sessions_expired: int
    todos: int
    todos_completed_by_active_users: int


async def count_rows(engine: AsyncEngine) -> Census:
    """Count."""
    async with engine.connect() as connection:
        row = (await connection.execute(text(_COUNT))).one()
    return Census(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it
