"""Results as JSON, stored together with the acknowledgement, and announced."""

import asyncio
from collections.abc import Callable
from logging import getLogger
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from redis.asyncio import Redis
from taskiq import AsyncResultBackend, NoResultError, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress

from kiqstart.infrastructure.taskiq.formatting import to_json
from kiqstart.infrastructure.taskiq.streams.delivery import Delivery
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.outage import through_outage
from kiqstart.infrastructure.taskiq.streams.script import Script

logger = getLogger(__name__)

ANNOUNCE: Final = Script("announce")
_read: Final = cast("Callable[[bytes], TaskiqResult[Any]]", TaskiqResult.__pydantic_validator__.validate_json)

ReturnType = TypeVar("ReturnType")


class UnserializableResultError(TypeError):
    """A task returned what JSON cannot hold: the task has failed."""


def encode_result(task_id: str, result: TaskiqResult[ReturnType]) -> bytes:
    """A result as JSON. One that JSON cannot hold becomes the result of a failed task, with that error."""
    try:
        # A result with an error is written by taskiq's rules for errors; any other has nothing that needs a rule.
        return to_json(result.__dict__ if result.error is None else result.model_dump(mode="json"))
    except (TypeError, ValueError, RecursionError) as error:
        kind = type(result.return_value).__name__
        problem = UnserializableResultError(f"the task's result ({kind}) cannot be sent as JSON: {error}")
        logger.error("Task with id %s: %s", task_id, problem)  # noqa: TRY400  # the traceback is pydantic's own
        return encode_failure(problem, execution_time=result.execution_time)


def encode_failure(error: BaseException, *, execution_time: float = 0.0) -> bytes:
    """The result of a task that failed."""
    failed: TaskiqResult[None] = TaskiqResult(
        is_err=True, return_value=None, execution_time=execution_time, error=error
    )
    return to_json(failed.model_dump(mode="json"))


def decode_result(value: bytes) -> TaskiqResult[Any]:
    """A result from JSON."""
    return _read(value)


class Waiting(Protocol):
    """Waits for announcements."""

    async def wait(self, task_id: str, timeout: float | None) -> bytes | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for a result; None where `timeout` seconds have passed."""
        ...


class StreamResultBackend(AsyncResultBackend[ReturnType], Generic[ReturnType]):
    """The result backend of a `StreamBroker`, on the broker's own connections.

    A result is JSON, errors are data (type, module, arguments), and nothing is ever unpickled. While the delivery is in
    this process' hands, a result waits for the acknowledgement and is stored with it, in one step: so a worker whose
    task was given to another cannot store over the other's result.

    Args:
        connection: gives the client of the event loop.
        deliveries: gives a task's delivery where this process has it.
        waiting: gives what waits for announcements in the event loop.
        reads: gives what lets so many reads go on at once in the event loop.
        ttl: seconds for which results and progress are kept; None for ever.
        deadline: seconds for which storing is tried through an outage, where it is not done with the acknowledgement.
    """

    def __init__(
        self,
        *,
        connection: Callable[[], object],
        deliveries: Callable[[str], Delivery | None],
        waiting: Callable[[], Waiting],
        reads: Callable[[], asyncio.Semaphore],
        keys: QueueKeys,
        ttl: float | None,
        deadline: float,
    ) -> None:
        self._connection = connection
        self._deliveries = deliveries
        self._waiting = waiting
        self._reads = reads
        self._keys = keys
        self._ttl_ms = round(ttl * 1000) if ttl else None
        self._deadline = deadline

    async def set_result(self, task_id: str, result: TaskiqResult[ReturnType]) -> None:
        """Store a result, or lay it by until its delivery is acknowledged.

        Raises:
            RedisError: Redis was away until the deadline.
        """
        if isinstance(result.error, NoResultError):
            return
        value = encode_result(task_id, result)
        delivery = self._deliveries(task_id)
        if delivery is not None:
            delivery.result = value
            return
        key = self._keys.result(task_id)
        await through_outage(
            lambda: ANNOUNCE(self._redis, [key], [value, self._ttl_ms or 0, self._keys.channel_suffix]), self._deadline
        )

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result."""
        return bool(await self._redis.exists(self._keys.result(task_id)))

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[ReturnType]:
        """The result of a task.

        Raises:
            ResultIsMissingError: there is none, or no longer.
        """
        async with self._reads():
            value = cast("bytes | None", await self._redis.get(self._keys.result(task_id)))
        if value is None:
            # Its package imports as much as a whole worker needs, and few results are asked for too late.
            from taskiq_redis.exceptions import ResultIsMissingError

            raise ResultIsMissingError
        result = decode_result(value)
        if not with_logs:
            result.log = None
        return result

    async def wait(self, task_id: str, timeout: float | None) -> TaskiqResult[ReturnType] | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for a task's result; None where `timeout` seconds have passed (None waits for ever)."""
        value = await self._waiting().wait(task_id, timeout)
        return None if value is None else decode_result(value)

    async def set_progress(self, task_id: str, progress: TaskProgress[ReturnType]) -> None:
        """Store a task's progress; an outage is the caller's to bear, as the next progress is soon there."""
        value = to_json(progress)
        await self._redis.set(self._keys.progress(task_id), value, px=self._ttl_ms)

    async def get_progress(self, task_id: str) -> TaskProgress[ReturnType] | None:
        """A task's progress, or None."""
        value = cast("bytes | None", await self._redis.get(self._keys.progress(task_id)))
        return None if value is None else TaskProgress[ReturnType].model_validate_json(value)

    @property
    def _redis(self) -> Redis:
        return cast("Redis", self._connection())
