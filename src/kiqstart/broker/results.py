"""Results as JSON, stored together with the acknowledgement, and announced."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from redis.exceptions import ResponseError
from taskiq import AsyncResultBackend, NoResultError, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import is_foreign_type, retry_transient
from kiqstart.broker.script import Script
from kiqstart.redis.commands import AsyncCommands
from kiqstart.tasks.caller_types import shown
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.exact_json import dump_exactly
from kiqstart.tasks.results.errors import (
    ResultTooLargeError,
    UnreadableResultError,
    UnserializableResultError,
)
from kiqstart.tasks.results.result_encoding import (
    decode_result,
    encode_failure,
    encode_result,
)
from kiqstart.tasks.sealing.errors import UnreadableSecretError
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets
from kiqstart.tasks.sizes import DEFAULT_BYTES, size_problem

__all__ = [
    "ANNOUNCE",
    "StreamResultBackend",
    "UnserializableResultError",
    "Waiting",
    "decode_result",
    "encode_failure",
    "encode_result",
]

ANNOUNCE: Final = Script[object]("announce")

ReturnType = TypeVar("ReturnType")

# Seconds. Redis counts in milliseconds, and less than one would mean for ever.
_SHORTEST_TTL: Final = 0.001
_LONGEST_TTL: Final = 10 * 365 * 86_400.0
_PROGRESS_MS: Final = 86_400_000
# A result and a progress are encrypted for one of them only.
_PROGRESS_OF: Final = "progress "
# What is encrypted is a third longer than what it says, and some bytes more.
_GROWTH: Final = 2
_LEAST_GROWTH: Final = 1024


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
        ttl: seconds for which results and progress are kept; None keeps results until `forget`, and progress for a day.
        deadline: seconds for which storing is tried through an outage, where it is not done with the acknowledgement.
        limit: bytes of the largest result and progress, before they are encrypted.
        secrets: encrypts them.

    Raises:
        WiringError: `ttl` is no number of seconds for which Redis can keep something.
    """

    def __init__(
        self,
        *,
        connection: Callable[[], AsyncCommands],
        deliveries: Callable[[str], Delivery | None],
        waiting: Callable[[], Waiting],
        reads: Callable[[], asyncio.Semaphore],
        keys: QueueKeys,
        ttl: float | None,
        deadline: float,
        limit: int = DEFAULT_BYTES,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._connection = connection
        self._deliveries = deliveries
        self._waiting = waiting
        self._reads = reads
        self._keys = keys
        self._ttl_ms = None if ttl is None else _milliseconds(ttl)
        self._deadline = deadline
        self._limit = limit
        self._secrets = secrets

    async def set_result(self, task_id: str, result: TaskiqResult[ReturnType]) -> None:
        """Store a result, or lay it by until its delivery is acknowledged.

        Raises:
            RedisError: Redis was away until the deadline.
        """
        if result.error is not None and isinstance(result.error, NoResultError):
            return
        delivery = self._deliveries(task_id)
        if delivery is not None:
            self.lay_by(delivery, result)
            return
        value = self._encoded(task_id, result)
        key = self._keys.result(task_id)
        arguments = (value, self._ttl_ms or 0, self._keys.channel_suffix)
        await retry_transient(lambda: ANNOUNCE(self._redis, [key], arguments), self._deadline)

    def lay_by(self, delivery: Delivery, result: TaskiqResult[ReturnType]) -> None:
        """Keep a result until its delivery is acknowledged."""
        delivery.result = self._encoded(delivery.task_id, result)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result."""
        return bool(await self._redis.exists(self._keys.result(task_id)))

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[ReturnType]:
        """The result of a task.

        Raises:
            ResultIsMissingError: there is none, or no longer.
            UnreadableResultError: what Redis has under its key cannot be read.
        """
        async with self._reads():
            value = await self._get(task_id, self._keys.result(task_id))
        if value is None:
            # Its package imports as much as a whole worker needs, and few results are asked for too late.
            from taskiq_redis.exceptions import ResultIsMissingError

            raise ResultIsMissingError
        result = self._decoded(task_id, value)
        if not with_logs:
            result.log = None
        return result

    async def wait(self, task_id: str, timeout: float | None) -> TaskiqResult[ReturnType] | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for a task's result; None where `timeout` seconds have passed (None waits for ever).

        Raises:
            UnreadableResultError: what Redis has under its key cannot be read.
        """
        value = await self._waiting().wait(task_id, timeout)
        return None if value is None else self._decoded(task_id, value)

    async def forget(self, task_id: str) -> None:
        """Remove a task's result and progress before their time."""
        await self._redis.delete(self._keys.result(task_id), self._keys.progress(task_id))

    async def set_progress(self, task_id: str, progress: TaskProgress[ReturnType]) -> None:
        """Store a task's progress; an outage is the caller's to bear, as the next progress is soon there.

        Raises:
            ResultTooLargeError: it is larger than a result may be.
            ValueError: JSON cannot hold it.
        """
        value = dump_exactly(progress.__dict__, nulls=int(progress.meta is None))
        if (problem := size_problem(value, self._limit)) is not None:
            raise ResultTooLargeError(problem)
        value = self._secrets.hide_result(_PROGRESS_OF + task_id, value)
        # It tells of a run, and nobody removes it.
        await self._redis.set(self._keys.progress(task_id), value, px=self._ttl_ms or _PROGRESS_MS)

    async def get_progress(self, task_id: str) -> TaskProgress[ReturnType] | None:
        """A task's progress, or None.

        Raises:
            UnreadableResultError: what Redis has under its key cannot be read.
        """
        value = await self._get(task_id, self._keys.progress(task_id))
        if value is None:
            return None
        value = self._readable(task_id, value, about=_PROGRESS_OF + task_id)
        try:
            return TaskProgress[ReturnType].model_validate_json(value)
        except ValueError:
            raise UnreadableResultError(task_id=task_id, reason="its key holds no progress") from None

    def _encoded(self, task_id: str, result: TaskiqResult[ReturnType]) -> bytes:
        return self._secrets.hide_result(task_id, encode_result(task_id, result, limit=self._limit))

    def _decoded(self, task_id: str, value: bytes) -> TaskiqResult[Any]:
        try:
            return decode_result(self._readable(task_id, value, about=task_id))
        except ValueError as error:
            raise UnreadableResultError(task_id=task_id, reason=str(error)) from None

    def _readable(self, task_id: str, value: bytes, *, about: str) -> bytes:
        if len(value) <= self._limit * _GROWTH + _LEAST_GROWTH:
            try:
                value = self._secrets.show_result(about, value)
            except UnreadableSecretError as error:
                raise UnreadableResultError(task_id=task_id, reason=str(error)) from None
        if (problem := size_problem(value, self._limit)) is not None:
            raise UnreadableResultError(task_id=task_id, reason=f"it has {problem} (TASKS_RESULT_BYTES, result_bytes)")
        return value

    async def _get(self, task_id: str, key: str) -> bytes | None:
        try:
            return await self._redis.get(key)
        except ResponseError as error:
            if not is_foreign_type(error):
                raise
            raise UnreadableResultError(task_id=task_id, reason=f"the key {key} holds something else") from None

    @property
    def _redis(self) -> AsyncCommands:
        return self._connection()


def _milliseconds(ttl: object) -> int:
    # Not every caller's types are checked.
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not _SHORTEST_TTL <= ttl <= _LONGEST_TTL:
        raise WiringError(
            f"result_ttl={shown(ttl)}: write seconds, from {_SHORTEST_TTL} to {_LONGEST_TTL:.0f} (10 years), or None "
            "to keep results until they are forgotten"
        )
    return round(ttl * 1000)
