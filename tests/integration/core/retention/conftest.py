from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.core.user.models import User
from kiqstart.core.user.service import UserService

Execute = Callable[[str], Awaitable[None]]
Count = Callable[[str], Awaitable[int]]


@pytest_asyncio.fixture
async def user(users: UserService) -> User:
    return await users.create(username="ada", email="")


@pytest.fixture
def execute(engine: AsyncEngine) -> Execute:
    """Run some SQL in a transaction of its own."""

    async def run(sql: str) -> None:
        async with engine.begin() as connection:
            for statement in sql.split(";;"):
                await connection.execute(text(statement))

    return run


@pytest.fixture
def count(engine: AsyncEngine) -> Count:
    """Count the rows of what stands after FROM."""

    async def run(rows: str) -> int:
        async with engine.begin() as connection:
            return int((await connection.execute(text(f"SELECT count(*) FROM {rows}"))).scalar_one())  # noqa: S608 - the test's own

    return run


@pytest_asyncio.fixture
async def expired(execute: Execute, user: User) -> None:
    """500 sessions that expired a second apart, and 100 that did not."""
    await execute(
        f"""
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), now() - interval '1 year', now() + (n - 500.5) * interval '1 second'
        FROM generate_series(1, 500) n
        ;;
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), now() + interval '1 day' FROM generate_series(501, 600) n
        """  # noqa: S608 - the test's own
    )


@pytest_asyncio.fixture
async def completed(execute: Execute, user: User) -> None:
    """1,000 todos on several pages, every second one completed."""
    await execute(
        f"""
        INSERT INTO todos (user_id, title, is_completed, completed_at)
        SELECT {user.id}, 'todo ' || n, n % 2 = 0, CASE WHEN n % 2 = 0 THEN now() END FROM generate_series(1, 1000) n
        """  # noqa: S608 - the test's own
    )


@pytest_asyncio.fixture
async def drop_after(engine: AsyncEngine) -> AsyncGenerator[list[str]]:
    """What the test adds to the schema: statements in this list are run after it."""
    statements: list[str] = []
    yield statements
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
