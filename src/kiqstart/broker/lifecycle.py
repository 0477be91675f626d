"""What happens when a broker starts and stops: servers are checked first and let go last."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from taskiq import AsyncBroker, TaskiqEvents, TaskiqState

from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.errors import OperatorError
from kiqstart.processes.exits import exit_with
from kiqstart.redis.client import RedisUnavailableError, check_redis

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker

logger = getLogger(__name__)

_STOPS = (TaskiqEvents.CLIENT_SHUTDOWN, TaskiqEvents.WORKER_SHUTDOWN)


def check_at_start(broker: AsyncBroker, check: Callable[[], Awaitable[object]]) -> None:
    """Check what tasks need where they run, before the first of them does.

    Args:
        broker: that of the tasks.
        check: raises an `OperatorError` if something is missing. A worker shows its line and ends; a program that runs
            tasks itself gets the exception.
    """

    async def run(_: TaskiqState) -> None:
        try:
            await check()
        except OperatorError as error:
            _fail_to_start(broker, error)

    broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, run)


def close_at_end(broker: AsyncBroker, close: Callable[[], Awaitable[object]]) -> None:
    """Let something go when the broker stops, in a worker or in a program that sends tasks."""

    async def run(_: TaskiqState) -> None:
        await close()

    for event in _STOPS:
        broker.with_event_handlers(event, run)


@dataclass(frozen=True, kw_only=True)
class RedisCheck:
    """Checks Redis whenever a broker starts, and the rights of its user for what the process is to do.

    It asks through what the running event loop has of Redis: a broker may start in several loops and forks.
    """

    broker: "StreamBroker"

    def attach(self) -> None:
        """Add it to the broker's events."""
        self.broker.with_event_handlers(TaskiqEvents.CLIENT_STARTUP, self._start_client)
        check_at_start(self.broker, self._check_worker)

    async def _start_client(self, _: TaskiqState) -> None:
        try:
            await self._check()
            if self.broker.is_scheduler_process:
                await self._check_rights(Role.SCHEDULER)
        except OperatorError as error:
            _fail_to_start(self.broker, error)

    async def _check_worker(self) -> None:
        await self._check()
        await self._check_rights(Role.WORKER)

    async def _check(self) -> None:
        await check_redis(self.broker.connection.client, self.broker.connections.address)

    async def _check_rights(self, role: Role) -> None:
        broker = self.broker
        try:
            await check_rights(broker.connection.redis, broker.keys, address=broker.connections.address, role=role)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {error}") from None


def warn_of_memory(broker: AsyncBroker) -> None:
    """Let a broker inside the program say what is not durable, when it starts."""

    async def warn(_: TaskiqState) -> None:
        logger.warning("REDIS_URL=memory:// runs tasks in this process; what it has not run when it ends is lost")

    broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, warn)


def _fail_to_start(broker: AsyncBroker, error: OperatorError) -> None:
    # A worker or a scheduler shows the line and ends; a program that embeds the broker gets the exception.
    if broker.is_worker_process or broker.is_scheduler_process:
        exit_with(error)
    raise error
