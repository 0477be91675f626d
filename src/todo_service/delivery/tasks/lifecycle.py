"""What happens when a broker starts and stops: servers are checked first and let go last."""

from dataclasses import dataclass
from logging import getLogger

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import AsyncBroker, TaskiqEvents, TaskiqState

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.errors import OperatorError
from kiqstart.processes.exits import exit_with
from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.redis.client import RedisUnavailableError, check_redis
from kiqstart.redis.settings import RedisSettings
from todo_service.delivery.tasks.policies import RetentionPolicies
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.infrastructure.database.schema import check_schema

logger = getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamLifecycle:
    """A broker on Redis: any process checks Redis; a worker also checks PostgreSQL and its schema and policies.

    A worker tells its tasks when it is asked to end.
    """

    broker: AsyncBroker
    redis: Redis | RedisCluster
    redis_settings: RedisSettings
    keys: QueueKeys
    engine: AsyncEngine
    policies: RetentionPolicies
    shutdown: ShutdownSignal

    def attach(self) -> None:
        """Add the handlers to the broker's events."""
        self.broker.with_event_handlers(TaskiqEvents.CLIENT_STARTUP, self._start_client)
        self.broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, self._start_worker)
        for event in (TaskiqEvents.CLIENT_SHUTDOWN, TaskiqEvents.WORKER_SHUTDOWN):
            self.broker.with_event_handlers(event, self._stop)

    async def _start_client(self, _: TaskiqState) -> None:
        try:
            await check_redis(self.redis, self.redis_settings)
            if self.broker.is_scheduler_process:
                await self._check_rights(Role.SCHEDULER)
        except OperatorError as error:
            _fail_to_start(self.broker, error)

    async def _start_worker(self, _: TaskiqState) -> None:
        try:
            await check_redis(self.redis, self.redis_settings)
            await self._check_rights(Role.WORKER)
            await check_schema(self.engine, WORKER_RIGHTS)
            await self.policies.check()
        except OperatorError as error:
            _fail_to_start(self.broker, error)
        self.shutdown.listen()

    async def _check_rights(self, role: Role) -> None:
        try:
            await check_rights(self.redis, self.keys, address=self.redis_settings.address, role=role)
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"Redis (REDIS_URL) went away while it was looked at: {error}") from None

    async def _stop(self, _: TaskiqState) -> None:
        await self.redis.aclose()
        await self.engine.dispose()


@dataclass(frozen=True, kw_only=True)
class InMemoryLifecycle:
    """A broker inside the program: says what is not durable, and checks PostgreSQL, since tasks run right here."""

    broker: AsyncBroker
    engine: AsyncEngine
    policies: RetentionPolicies

    def attach(self) -> None:
        """Add the handlers to the broker's events; taskiq's in-memory broker fires those of the worker too."""
        self.broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, self._start)
        self.broker.with_event_handlers(TaskiqEvents.WORKER_SHUTDOWN, self._stop)

    async def _start(self, _: TaskiqState) -> None:
        logger.warning("REDIS_URL=memory:// runs tasks in this process; what it has not run when it ends is lost")
        await check_schema(self.engine, WORKER_RIGHTS)
        await self.policies.check()

    async def _stop(self, _: TaskiqState) -> None:
        await self.engine.dispose()


def _fail_to_start(broker: AsyncBroker, error: OperatorError) -> None:
    # A worker or a scheduler shows the line and ends; a program that embeds the broker gets the exception.
    if broker.is_worker_process or broker.is_scheduler_process:
        exit_with(error)
    raise error
