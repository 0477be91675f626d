"""`kiqstart ping`: is a worker there?"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from redis.exceptions import RedisError
from taskiq.exceptions import ResultGetError, SendTaskError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable, Pauses
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.cli.application import stream_broker
from kiqstart.cli.terminal import echo
from kiqstart.errors import OperatorError
from kiqstart.tasks.sent_task import ResultTimeoutError

_SECONDS_TO_EXPLAIN: Final = 1.0


class NoAnswerError(OperatorError):
    """No worker ran the task in time, or none could."""


class NotSentError(OperatorError):
    """The task was not sent."""


def run_ping(*, queue: str, timeout: float) -> None:
    """Send a task that every worker has, and print how long the answer took, in milliseconds.

    Raises:
        NoAnswerError: there was none within `timeout` seconds, or it is an error.
        NotSentError: Redis refuses the task, or is away.
        MissingRightsError: Redis refuses it for want of rights.
    """
    echo(f"pong in {asyncio.run(_round_trip(queue, timeout)) * 1000:.1f} ms")


async def _round_trip(queue: str, timeout: float) -> float:  # noqa: ASYNC109  # it is taskiq's own
    async with stream_broker() as broker:
        start = time.perf_counter()
        try:
            sent = await broker.ping.kicker().with_labels(queue_name=queue).kiq()
        except SendTaskError as error:
            await _complain_of_rights(broker)
            raise NotSentError(str(error)) from None
        try:
            result = await sent.wait_result(timeout=timeout)
        except ResultTimeoutError as error:
            raise NoAnswerError(f"{error}; {await _advice(broker, queue)}") from None
        except ResultGetError as error:
            raise NoAnswerError(f"the answer cannot be read: {error.__cause__ or error}") from None
        seconds = time.perf_counter() - start
        if result.is_err:
            raise NoAnswerError(f"a worker has failed to answer: {type(result.error).__name__}: {result.error}")
        return seconds


async def _advice(broker: StreamBroker, queue: str) -> str:
    # A Redis that does not answer any more has nothing to say of pauses either.
    with suppress(RedisError, OSError):
        async with asyncio.timeout(_SECONDS_TO_EXPLAIN):
            pauses = Pauses(broker.connection.redis, broker.keys, deadline=broker.options.send_deadline)
            if any(one.kind is Pausable.QUEUE and one.name == queue for one in await pauses.all()):
                return f"the queue {queue!r} is paused: `kiqstart resume queue {queue}`"
    return "start a worker (`kiqstart worker`), or look at its log"


async def _complain_of_rights(broker: StreamBroker) -> None:
    # A Redis that does not answer has nothing to say of rights either.
    with suppress(RedisError, OSError):
        async with asyncio.timeout(_SECONDS_TO_EXPLAIN):
            await check_rights(
                broker.connection.redis, broker.keys, address=broker.connections.address, role=Role.PRODUCER
            )
