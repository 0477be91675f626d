"""Ends deliveries: acknowledges, deletes, stores the result and what follows, in one step and many at once."""

import asyncio
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Final, cast

from kiqstart.infrastructure.taskiq.streams.batching import Batches
from kiqstart.infrastructure.taskiq.streams.delivery import Again, Dead, Delivery
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.outage import is_outage, pause, reason
from kiqstart.infrastructure.taskiq.streams.script import Script, Value

logger = getLogger(__name__)

_SETTLE: Final = Script("settle")
_FIXED_KEYS: Final = 6
_LOUD_TRIES: Final = 3


class Settler:
    """Settles deliveries, however long Redis is away: what has run must not run again for want of an answer.

    Args:
        redis: an async client.
        keys: the queue's names.
        group: the consumer group.
        options: how many dead letters are kept.
        result_ttl: seconds for which a result is kept; None for ever.
    """

    def __init__(
        self, redis: object, keys: QueueKeys, *, group: str, options: StreamOptions, result_ttl: float | None
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._options = options
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._batches: Batches[Delivery, bool] = Batches(self._settle_batch, lambda one: len(one.result))

    async def settle(self, delivery: Delivery) -> bool:
        """Apply the delivery's outcome and result; False where another worker has the task by now.

        Raises:
            RedisError: Redis refuses it for good; it is then left to the next worker.
        """
        return await self._batches.add(delivery)

    async def drain(self) -> None:
        """Wait for what is under way."""
        await self._batches.drain()

    async def _settle_batch(self, batch: Sequence[Delivery]) -> Sequence[bool | BaseException]:
        keys, arguments = self._call(batch)
        tries = 0
        while True:
            try:
                lost = set(cast("list[int]", await _SETTLE(self._redis, keys, arguments)))
            except Exception as error:
                if not is_outage(error):
                    raise
                tries += 1
                if tries == _LOUD_TRIES:
                    logger.warning("Results wait for Redis, %d of them: %s", len(batch), reason(error))
                await asyncio.sleep(pause(tries))
            else:
                # After a try without an answer, "no longer yours" may be that try's own doing.
                return [place not in lost or tries > 0 for place in range(1, len(batch) + 1)]

    def _call(self, batch: Sequence[Delivery]) -> tuple[list[str], list[Value]]:
        names = self._keys
        keys = [names.epoch, names.uniques, names.delayed, names.delayed_messages, names.dead, names.dropped]
        places: dict[str, int] = {}

        def place(key: str) -> int:
            if key not in places:
                keys.append(key)
                places[key] = len(keys)
            return places[key]

        arguments: list[Value] = [self._group, self._options.dead_letter_limit]
        for one in batch:
            result = place(names.result(one.task_id)) if one.result else 0
            unique = one.fields.get("unique", "")
            arguments += [place(one.stream), one.entry, one.epoch, one.task_id, unique]
            arguments += [result, one.result, self._result_ms, *self._outcome(one, place)]
        return keys, arguments

    def _outcome(self, delivery: Delivery, place: Callable[[str], int]) -> list[Value]:
        match delivery.outcome:
            case Again(message=message, delay=delay, is_first=is_first):
                target = self._keys.returned(delivery.queue) if is_first else self._keys.stream(delivery.queue)
                return ["again", place(target), round(delay * 1000), message, "", "", ""]
            case Dead(reason=why, detail=detail, message=message):
                queue = self._keys.stream(delivery.queue)
                # Python's errors may hold what UTF-8 cannot: a file's name, for one.
                text = detail.encode(errors="backslashreplace")
                return ["dead", queue, why.value, text, message, delivery.deliveries + 1, delivery.first]
            case _:
                return ["done", "", "", "", "", "", ""]
