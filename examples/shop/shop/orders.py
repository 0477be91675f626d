"""What can be done with orders."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention import RetentionPolicy
from shop.models import Order


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Orders, each call in a transaction of its own."""

    sessions: async_sessionmaker[AsyncSession]

    async def ship(self, order_id: int) -> bool:
        """Mark an order as shipped; whether it was not before."""
        async with self.sessions.begin() as session:
            waiting = update(Order).where(Order.id == order_id, Order.shipped_at.is_(None))
            return await session.scalar(waiting.values(shipped_at=func.now()).returning(Order.id)) is not None

    async def count_waiting(self) -> int:
        """How many are not shipped yet."""
        async with self.sessions.begin() as session:
            return await session.scalar(select(func.count()).where(Order.shipped_at.is_(None))) or 0


def old_orders() -> RetentionPolicy:
    """Shipped orders that are older than ten years."""
    limit = datetime.now(UTC) - timedelta(days=3650)
    return RetentionPolicy(
        name="old_orders",
        model=Order,
        predicate=(Order.ordered_at < limit) & Order.shipped_at.is_not(None),
        cursor=(Order.ordered_at,),
    )
