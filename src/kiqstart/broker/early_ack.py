"""Acknowledges deliveries before their tasks run: none of them runs a second time."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from redis.exceptions import NoScriptError

from kiqstart.broker.batcher import Batches, Work
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import may_pass, pause
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.results import encode_failure
from kiqstart.broker.script import Script
from kiqstart.redis.commands import ScriptClient, Value
from kiqstart.tasks.results.errors import TaskCutOffError

_ACKNOWLEDGE: Final = Script[list[int]]("acknowledge")
_FIRST_STREAM: Final = 9


class EarlyAcks(Work[Delivery, bool, list[int]]):
    """Notes in Redis, many at once, that tasks which begin now are not to be run again.

    Args:
        redis: an async client.
        group: the consumer group.
        result_ttl: seconds for which a result is kept; None for ever.
    """

    def __init__(self, redis: ScriptClient, keys: QueueKeys, *, group: str, result_ttl: float | None) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._batches: Batches[Delivery, bool, list[int]] = Batches(self, lambda delivery: len(delivery.task_id))

    async def acknowledge(self, delivery: Delivery) -> bool:
        """Wait until Redis knows it, however long it is away; False where another worker has the task by now.

        Raises:
            RedisError: Redis refuses it.
        """
        return await self._batches.add(delivery)

    def begin(self, items: Sequence[Delivery]) -> Awaitable[list[int]]:
        """Tell Redis."""
        return _ACKNOWLEDGE.begin(self._redis, *self._call(items))

    def answers(self, items: Sequence[Delivery], outcome: list[int]) -> Sequence[bool | BaseException]:
        """Whether each delivery was still this worker's."""
        lost = set(outcome)
        return [place not in lost for place in range(1, len(items) + 1)]

    async def mend(self, items: Sequence[Delivery], error: Exception) -> Sequence[bool | BaseException]:
        """Tell it again until Redis answers."""
        tries = 0
        while may_pass(error) or isinstance(error, NoScriptError):
            if may_pass(error):
                tries += 1
                await asyncio.sleep(pause(tries))
            try:
                return self.answers(items, await _ACKNOWLEDGE(self._redis, *self._call(items)))
            except Exception as again:  # noqa: BLE001  # looked at by the loop
                error = again
        raise error

    def _call(self, items: Sequence[Delivery]) -> tuple[list[str], list[Value]]:
        names = self._keys
        streams = list(dict.fromkeys(one.stream for one in items))
        keys = [names.epoch, *names.shared, *streams, *(names.result(one.task_id) for one in items)]
        arguments: list[Value] = [self._group, self._result_ms, names.channel_suffix]
        for number, one in enumerate(items):
            places = [streams.index(one.stream) + _FIRST_STREAM, number + _FIRST_STREAM + len(streams)]
            arguments += [*places, raw_name(one.epoch), one.entry, one.task_id, one.fields.get("unique", "")]
            arguments += [encode_failure(TaskCutOffError(one.task_id)), one.send, one.worker]
        return keys, arguments
