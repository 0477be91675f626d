"""The broker, for commands that look at what is in Redis."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aioinject import Object
from pydantic import SecretStr
from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.errors import OperatorError
from kiqstart.redis.client import RedisUnavailableError
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory


class NoQueueError(OperatorError):
    """There is no queue that a command could look at."""


@asynccontextmanager
async def stream_broker() -> AsyncGenerator[StreamBroker]:
    """Start the broker, and stop it at the end. PostgreSQL is not used, so it does not have to be named.

    Raises:
        NoQueueError: tasks run in the program that sends them (`memory://`).
        RedisUnavailableError: Redis is away, now or later.
    """
    database = Object(DatabaseSettings(database_url=SecretStr("postgresql://")), interface=DatabaseSettings)
    broker = ContainerFactory(overrides=[database])().resolve(TasksRegistry).broker
    if not isinstance(broker, StreamBroker):
        raise NoQueueError(
            "REDIS_URL=memory:// keeps no tasks, schedules or dead letters: tasks run in the program that sends them"
        )
    try:
        await broker.startup()
        yield broker
    except (RedisError, OSError) as error:
        address = broker.connections.address
        raise RedisUnavailableError(f"cannot use Redis at {address} (REDIS_URL): {reason(error)}") from None
    finally:
        await broker.shutdown()
