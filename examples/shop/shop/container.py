"""The container: where all parts are put together."""

import os

from aioinject import Object, Singleton, SyncContainer
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart import Controller, RetentionTask, load_settings
from kiqstart.broker import RedisSettings, TasksSettings, create_broker
from kiqstart.retention import RetentionEngine, RetentionPolicies
from kiqstart.scheduler import DurableScheduleSource, StaticSchedules, check_schedules
from shop.orders import Orders, old_orders
from shop.tasks import SCHEDULES, OrderTaskController, TaskName, TasksRegistry


def create_container() -> SyncContainer:
    """Build it; settings are read when a part that needs them is resolved."""
    container = SyncContainer()
    container.register(
        Singleton(_engine),
        Singleton(_sessions),
        Singleton(Orders),
        Singleton(_policies),
        Singleton(OrderTaskController, interface=Controller),
        Singleton(_retention_task, interface=Controller),
        Object(SCHEDULES, interface=StaticSchedules),
        Singleton(_broker),
        Singleton(_registry),
        Singleton(_scheduler),
    )
    return container


def _engine() -> AsyncEngine:
    # It connects when it is first used.
    url = make_url(os.environ.get("DATABASE_URL", "postgresql://localhost/shop"))
    return create_async_engine(url.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)


def _sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


def _policies(engine: AsyncEngine) -> RetentionPolicies:
    return RetentionPolicies(RetentionEngine(engine), lambda: [old_orders()])


def _retention_task(policies: RetentionPolicies) -> RetentionTask:
    return RetentionTask(policies=policies)


def _broker() -> AsyncBroker:
    return create_broker(load_settings(RedisSettings), load_settings(TasksSettings))


def _registry(broker: AsyncBroker, controllers: list[Controller], schedules: StaticSchedules) -> TasksRegistry:
    registry = TasksRegistry(broker)
    registry.register(controllers, TaskName)
    check_schedules(schedules, broker)
    return registry


def _scheduler(registry: TasksRegistry, schedules: StaticSchedules) -> TaskiqScheduler:
    return TaskiqScheduler(registry.broker, [DurableScheduleSource(registry.broker, schedules)])
