"""Reads what a worker can take: what was given back first, then what is new, from several queues by weight."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from kiqstart.infrastructure.taskiq.streams.delivery import DeliveriesInHand, Delivery, local_time
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import Lease
from kiqstart.infrastructure.taskiq.streams.script import AsyncClient, Script, Value

_FETCH: Final = Script("fetch")
_FIRST_STREAM: Final = 3
_STREAMS_OF_A_QUEUE: Final = 3
_TEXT_FIELDS: Final = frozenset({"deliveries", "first", "worker", "unique", "task"})

# For so long, at most, a suspect waits until its worker has nothing else; and so long it then is alone. More would keep
# too much from others: few tasks that kill their workers take longer to do so.
_SECONDS_TO_EMPTY: Final = 2.0
_SECONDS_ALONE: Final = 30.0
_SECONDS_BETWEEN_LOOKS: Final = 0.05
# Messages that are as large as the last ones were are read in steps of so many bytes.
_MOST_BYTES: Final = 4 * 1024 * 1024
_LARGE: Final = 64 * 1024
# The rules for suspects that fetch.lua knows.
_TAKE_SUSPECTS: Final = "take"
_WAIT_FOR_SUSPECTS: Final = "wait"
_LEAVE_SUSPECTS: Final = "leave"

# Its id and fields as Redis gives them, or as redis-py makes of them.
RawEntry = tuple[bytes, Sequence[bytes] | Mapping[bytes, bytes]]
# A message that nobody had before has but one field: its name and its value.
_PLAIN: Final = 2
_NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """When a read began, and for which worker."""

    worker: str
    epoch: str
    at: float


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
        large: another one, for reads of large messages.
        reader: an async client whose time-out allows for the wait.
        weights: the queues to read, each with its weight.
        wait: seconds to wait for a message where there is none.
    """

    def __init__(
        self,
        redis: object,
        large: object,
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
        self._large = cast("AsyncClient", large)
        self._reader = cast("AsyncClient", reader)
        self._keys = keys
        self._group = group
        self._order = WeightedOrder(weights)
        self._queue_of = {stream: queue for queue in weights for stream in keys.streams(queue)}
        self._suspects = {keys.suspects(queue) for queue in weights}
        self._lease = lease
        self._in_hand = in_hand
        self._wait_ms = round(wait * 1000)
        self._is_backlog = True
        # Of a message, by those that were read last.
        self._usual_bytes = 1
        self._empties_since: float | None = None
        self.cancelled_tasks = 0

    async def fetch(self, room: int) -> list[Delivery]:
        """Read up to `room` messages, and wait a little where there is none.

        A suspect comes first, and alone: what is read beside it is to be given back.

        Raises:
            NotRegisteredError: the lease has ended.
            RedisError: Redis is away.
        """
        suspect = next((one for one in self._in_hand.all() if one.is_suspect), None)
        if suspect is not None and local_time() - suspect.taken_at < _SECONDS_ALONE:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return []
        rule = _LEAVE_SUSPECTS if suspect is not None else self._rule_for_suspects()
        if self._is_backlog:
            count = min(room, max(_MOST_BYTES // self._usual_bytes, 1))
            is_large = self._usual_bytes > _LARGE
            deliveries = await (self._read_large(count, rule) if is_large else self._read_at_once(count, rule))
            self._is_backlog = len(deliveries) >= count
            if deliveries or self._empties_since is not None:
                return deliveries
        deliveries = await self._wait_for_one(rule)
        # While there is something in hand, a waiting suspect is noticed only by a look.
        self._is_backlog = bool(deliveries) or rule == _WAIT_FOR_SUSPECTS
        return sorted(deliveries, key=lambda one: not one.is_suspect)

    def _rule_for_suspects(self) -> str:
        if not self._in_hand:
            return _TAKE_SUSPECTS
        since = self._empties_since
        return _WAIT_FOR_SUSPECTS if since is None or local_time() - since < _SECONDS_TO_EMPTY else _TAKE_SUSPECTS

    async def _read_at_once(self, room: int, rule: str) -> list[Delivery]:
        taken = _Taken(worker=self._lease.worker, epoch=self._lease.epoch, at=local_time())
        streams = self._keys.all_streams(self._order.next())
        arguments: list[Value] = [self._group, taken.worker, room, rule]
        answer = await _FETCH(self._redis, [self._keys.workers, self._keys.cancelled, *streams], arguments)
        if answer == b"suspect":
            self._empties_since = self._empties_since or local_time()
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return []
        self._empties_since = None
        if not isinstance(answer, list):
            raise NotRegisteredError
        found = cast("list[object]", answer)
        self.cancelled_tasks = cast("int", found[0])
        deliveries: list[Delivery] = []
        for place, entries in zip(found[1::2], found[2::2], strict=True):
            stream = streams[cast("int", place) - _FIRST_STREAM]
            deliveries += [self._delivery(stream, entry, taken) for entry in cast("Sequence[RawEntry]", entries)]
        return self._take(deliveries, taken)

    async def _wait_for_one(self, rule: str) -> list[Delivery]:
        taken = _Taken(worker=self._lease.worker, epoch=self._lease.epoch, at=local_time())
        streams = self._keys.all_streams(self._order.next())
        if rule != _TAKE_SUSPECTS:
            streams = [stream for stream in streams if stream not in self._suspects]
        # One of each stream: the rest is then read at once, with the rules of fetch.lua.
        return await self._read(self._reader, streams, taken, "COUNT", 1, "BLOCK", self._wait_ms)

    async def _read_large(self, count: int, rule: str) -> list[Delivery]:
        # A script copies what it hands on several times. It still says whether this worker may read, and what is first.
        first = await self._read_at_once(0, rule)
        if first or self._empties_since is not None:
            return first
        taken = _Taken(worker=self._lease.worker, epoch=self._lease.epoch, at=local_time())
        streams = [stream for stream in self._keys.all_streams(self._order.next()) if stream not in self._suspects]
        return await self._read(self._large, streams, taken, "COUNT", count)

    async def _read(
        self, client: AsyncClient, streams: Sequence[str], taken: "_Taken", *options: Value
    ) -> list[Delivery]:
        answer = await client.execute_command(
            "XREADGROUP", "GROUP", self._group, taken.worker, *options, "STREAMS", *streams, *[">"] * len(streams)
        )
        deliveries = [
            self._delivery(stream.decode(), entry, taken)
            for stream, entries in cast("Sequence[tuple[bytes, Sequence[RawEntry]]]", answer or ())
            for entry in entries
        ]
        return self._take(deliveries, taken)

    def _take(self, deliveries: Sequence[Delivery], taken: "_Taken") -> list[Delivery]:
        if deliveries:
            self._usual_bytes = max(sum(len(one.data) for one in deliveries) // len(deliveries), 1)
        # An answer to a name that was lost meanwhile: what it brings is with others, or soon will be.
        return self._in_hand.take(deliveries) if taken.worker == self._lease.worker else []

    def _delivery(self, stream: str, raw: RawEntry, taken: "_Taken") -> Delivery:
        entry, found = raw[0].decode(), raw[1]
        if isinstance(found, Sequence) and len(found) == _PLAIN and found[0] == b"data":
            data, fields, is_well_formed = found[1], _NO_FIELDS, True
        else:
            data, fields, is_well_formed = _parse(found)
        return Delivery(
            queue=self._queue_of[stream],
            stream=stream,
            entry=entry,
            data=data,
            fields=fields,
            deliveries=_number(fields.get("deliveries"), 0),
            worker=taken.worker,
            epoch=taken.epoch,
            is_suspect=stream in self._suspects,
            is_well_formed=is_well_formed,
            taken_at=taken.at,
        )


def _parse(found: Sequence[bytes] | Mapping[bytes, bytes]) -> tuple[bytes, Mapping[str, str], bool]:
    """An entry's data, what else we know of it, and whether it is ours at all."""
    raw = found if isinstance(found, Mapping) else dict(zip(found[::2], found[1::2], strict=True))
    texts = {name.decode(errors="replace"): value for name, value in raw.items()}
    fields = {name: value.decode(errors="replace") for name, value in texts.items() if name in _TEXT_FIELDS}
    return texts.get("data", repr(raw).encode()), fields, "data" in texts


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
