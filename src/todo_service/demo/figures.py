"""What each clean-up did, checked against the database."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from todo_service.demo.errors import DemoError

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


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One clean-up.

    Args:
        title: who sent what.
        found: rows that the database counted as due before.
        deleted: rows that the task reports.
        before: all rows of the table before, counted by the database.
        kept: all rows of the table afterwards, counted by the database.
        left: rows that the database still counts as due afterwards.
        seconds: how long the task ran, as taskiq measured it, in hundredths.
    """

    title: str
    found: int
    deleted: int
    before: int
    kept: int
    left: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Deleted rows by time."""
        return self.deleted / self.seconds if self.seconds else 0.0

    def check(self) -> None:
        """Compare what the task reports with what the database counted.

        Raises:
            DemoError: they do not agree to the row.
        """
        if not (self.found == self.deleted == self.before - self.kept and self.left == 0):
            raise DemoError(
                f"{self.title}: the task reports {self.deleted} deleted rows, but the database counted {self.found} to "
                f"delete, {self.before - self.kept} fewer afterwards and {self.left} left: please report this"
            )
