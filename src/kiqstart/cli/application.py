"""The application of a command, and its broker for those that look at what is in Redis."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from redis.exceptions import RedisError

from kiqstart.app import App
from kiqstart.app_finder import find_app
from kiqstart.app_place import VARIABLE
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import reason
from kiqstart.operations.brokers import broker_of
from kiqstart.redis.client import RedisUnavailableError, with_remedy
from kiqstart.redis.settings import IN_MEMORY_URL

P = ParamSpec("P")
T = TypeVar("T")


def choose_application(place: str | None) -> None:
    """Take what `--app` says, for this process and for those that it starts."""
    if place:
        os.environ[VARIABLE] = place


def application() -> App:
    """The application.

    Raises:
        OperatorError: it cannot be found, or cannot be put together.
    """
    return find_app()


def unconnected_application() -> App:
    """The application, for a command that connects nothing, so that no server has to be named."""
    os.environ.setdefault("REDIS_URL", IN_MEMORY_URL)
    return find_app()


@asynccontextmanager
async def stream_broker(app: App | None = None) -> AsyncGenerator[StreamBroker]:
    """Start the application's broker, and stop it at the end. No database is used, so none has to be named.

    Raises:
        NoQueueError: tasks run in the program that sends them (`memory://`).
        RedisUnavailableError: Redis is away, now or later.
    """
    broker = broker_of(app or application())
    try:
        await broker.startup()
        yield broker
    except (RedisError, OSError) as error:
        address = broker.connections.address
        raise RedisUnavailableError(
            f"cannot use Redis at {address} (REDIS_URL): {with_remedy(reason(error), error)}"
        ) from None
    finally:
        await broker.shutdown()


def on_broker(work: Callable[Concatenate[StreamBroker, P], Awaitable[T]]) -> Callable[P, T]:
    """Make a command of a coroutine function: it is run to its end, on the application's `stream_broker`."""

    @wraps(work)
    def command(*args: P.args, **kwargs: P.kwargs) -> T:
        async def run() -> T:
            async with stream_broker() as broker:
                return await work(broker, *args, **kwargs)

        return asyncio.run(run())

    return command
