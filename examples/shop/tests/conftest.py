"""The fixtures of kiqstart, and an order of the test's own."""

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from shop.models import Order, User

pytest_plugins = ["kiqstart.testing.plugin"]


@pytest_asyncio.fixture
async def order_id(database_url: str) -> int:
    """An order that waits."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with AsyncSession(engine) as session, session.begin():
        user = User(email="ada@example.org")
        session.add(user)
        await session.flush()
        order = Order(user_id=user.id)
        session.add(order)
        await session.flush()
        made = order.id
    await engine.dispose()
    return made
