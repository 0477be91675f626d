"""`kiqstart ping`: is a worker there?"""

import asyncio
import time
from contextlib import suppress

from redis.exceptions import RedisError
from taskiq import TaskiqResultTimeoutError
from taskiq.exceptions import ResultGetError, SendTaskError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.cli.terminal import echo
from kiqstart.errors import OperatorError
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.ioc.container import ContainerFactory


class NoAnswerError(OperatorError):
    """No worker ran the task in time, or none could."""


class NotSentError(OperatorError):
    """The task was not sent."""


def run_ping(*, timeout: float) -> None:
    """Send `ping` and print how long the answer took, in milliseconds.

    Raises:
        NoAnswerError: there was none within `timeout` seconds, or it is an error.
        NotSentError: Redis refuses the task, or is away.
        MissingRightsError: Redis refuses it for want of rights.
    """
    echo(f"pong in {asyncio.run(_round_trip(timeout)) * 1000:.1f} ms")


async def _round_trip(timeout: float) -> float:  # noqa: ASYNC109  # it is taskiq's own
    async with ContainerFactory()().running() as registry:
        start = time.perf_counter()
        try:
            task = await registry.ping.kiq()
        except SendTaskError as error:
            await _complain_of_rights(registry)
            raise NotSentError(str(error)) from None
        try:
            result = await task.wait_result(check_interval=0.005, timeout=timeout)
        except TaskiqResultTimeoutError:
            raise NoAnswerError(
                f"no worker has answered within {timeout:g} s: start one (`make worker-dev`), or look at its log"
            ) from None
        except ResultGetError as error:
            raise NoAnswerError(f"the answer cannot be read: {error.__cause__ or error}") from None
        seconds = time.perf_counter() - start
        if result.is_err:
            raise NoAnswerError(f"a worker has failed to answer: {type(result.error).__name__}: {result.error}")
        return seconds


async def _complain_of_rights(registry: TasksRegistry) -> None:
    broker = registry.broker
    if isinstance(broker, StreamBroker):
        with suppress(RedisError, OSError):
            await check_rights(
                broker.connection.redis, broker.keys, address=broker.connections.address, role=Role.PRODUCER
            )
