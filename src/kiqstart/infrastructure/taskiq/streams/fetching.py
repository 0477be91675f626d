"""Reads what a worker can take: what was given back first, then what is new, from several queues by weight."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from kiqstart.infrastructure.taskiq.streams.delivery import DeliveriesInHand, Delivery
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import Lease
from kiqstart.infrastructure.taskiq.streams.script import Script, Value

if TYPE_CHECKING:
    from redis.asyncio import Redis

_FETCH: Final = Script("fetch")
_FIRST_STREAM: Final = 3
_STREAMS_OF_A_QUEUE: Final = 3
_TEXT_FIELDS: Final = frozenset({"deliveries", "first", "worker", "unique", "task"})

Entry = tuple[bytes, Mapping[bytes, bytes]]


class NotRegisteredError(Exception):
    """Redis does not know this worker, which thus may not read."""


class WeightedOrder:
    """In which order queues are read: smooth weighted round robin, as nginx spreads requests.

    Of as many reads as the weights' sum, each queue is first in as many as its weight says, evenly spread; so none
    starves.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._current = dict.fromkeys(weights, 0)

    def next(self) -> list[str]:
        """The queues for one read, first the one whose turn it is."""
        for queue, weight in self._weights.items():
            self._current[queue] += weight
        order = sorted(self._current, key=lambda queue: -self._current[queue])
        self._current[order[0]] -= sum(self._weights.values())
        return order


class Fetcher:
    """Reads for one worker.

    Args:
        redis: an async client for scripts.
        reader: an async client whose time-out allows for the wait.
        weights: the queues to read, each with its weight.
        wait: seconds to wait for a message where there is none.
    """

    def __init__(
        self,
        redis: object,
        reader: object,
        keys: QueueKeys,
        *,
        group: str,
        weights: Mapping[str, int],
        lease: Lease,
        in_hand: DeliveriesInHand,
        wait: float,
    ) -> None:
        self._redis = redis
        self._reader = cast("Redis", reader)
        self._keys = keys
        self._group = group
        self._order = WeightedOrder(weights)
        self._queue_of = {stream: queue for queue in weights for stream in keys.streams(queue)}
        self._suspects = {keys.suspects(queue) for queue in weights}
        self._lease = lease
        self._in_hand = in_hand
        self._wait_ms = round(wait * 1000)
        self._is_backlog = True
        self.cancelled_tasks = 0

    async def fetch(self, room: int) -> list[Delivery]:
        """Read up to `room` messages, and wait a little where there is none.

        Raises:
            NotRegisteredError: the lease has ended.
            RedisError: Redis is away.
        """
        if self._is_backlog:
            deliveries = await self._read_at_once(room)
            self._is_backlog = len(deliveries) >= room
            if deliveries:
                return deliveries
        deliveries = await self._wait_for_one()
        self._is_backlog = bool(deliveries)
        return deliveries

    async def _read_at_once(self, room: int) -> list[Delivery]:
        worker, epoch = self._lease.worker, self._lease.epoch
        streams = self._keys.all_streams(self._order.next())
        arguments: list[Value] = [self._group, worker, room, 0 if self._has_suspect() else 1]
        answer = await _FETCH(self._redis, [self._keys.workers, self._keys.cancelled, *streams], arguments)
        if not isinstance(answer, list):
            raise NotRegisteredError
        found = cast("list[object]", answer)
        self.cancelled_tasks = cast("int", found[0])
        deliveries: list[Delivery] = []
        for place, entries in zip(found[1::2], found[2::2], strict=True):
            stream = streams[cast("int", place) - _FIRST_STREAM]
            for entry, flat in cast("list[tuple[bytes, list[bytes]]]", entries):
                deliveries.append(
                    self._delivery(stream, (entry, dict(zip(flat[::2], flat[1::2], strict=True))), worker, epoch)
                )
        return self._take(deliveries, worker)

    async def _wait_for_one(self) -> list[Delivery]:
        worker, epoch = self._lease.worker, self._lease.epoch
        streams = self._keys.all_streams(self._order.next())
        if self._has_suspect():
            streams = [stream for stream in streams if stream not in self._suspects]
        answer = await self._reader.xreadgroup(
            self._group,
            worker,
            dict.fromkeys(streams, ">"),
            # One of each stream: the rest is then read at once, with the rules of fetch.lua.
            count=1,
            block=self._wait_ms,
        )
        deliveries = [
            self._delivery(stream.decode(), entry, worker, epoch)
            for stream, entries in cast("Sequence[tuple[bytes, Sequence[Entry]]]", answer or ())
            for entry in entries
        ]
        return self._take(deliveries, worker)

    def _take(self, deliveries: Sequence[Delivery], worker: str) -> list[Delivery]:
        # An answer to a name that was lost meanwhile: what it brings is with others, or soon will be.
        return self._in_hand.take(deliveries) if worker == self._lease.worker else []

    def _has_suspect(self) -> bool:
        return any(one.is_suspect for one in self._in_hand.all())

    def _delivery(self, stream: str, entry: Entry, worker: str, epoch: str) -> Delivery:
        entry_id, raw = entry[0].decode(), entry[1]
        texts = {name.decode(errors="replace"): value for name, value in raw.items()}
        fields = {name: value.decode(errors="replace") for name, value in texts.items() if name in _TEXT_FIELDS}
        return Delivery(
            queue=self._queue_of[stream],
            stream=stream,
            entry=entry_id,
            data=texts["data"] if "data" in texts else repr(raw).encode(),
            fields=fields,
            deliveries=_number(fields.get("deliveries"), 0),
            first=_number(fields.get("first"), int(entry_id.partition("-")[0])),
            worker=worker,
            epoch=epoch,
            is_suspect=stream in self._suspects,
            is_well_formed="data" in texts,
        )


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
