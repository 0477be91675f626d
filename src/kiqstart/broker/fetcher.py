"""Reads what a worker can take: what was given back first, then what is new, from several queues by weight."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, cast

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError, ResponseError

from kiqstart.broker.cancel_marks import CancelMarks
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.entry_reader import EntryReader, RawEntry, Taken
from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.misfits import Misfits
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.read_size import ReadSize, bytes_of
from kiqstart.broker.redis_retry import is_foreign_type
from kiqstart.broker.script import Script
from kiqstart.broker.weighted_order import WeightedOrder
from kiqstart.redis.commands import ScriptClient, Value

_FETCH: Final = Script[list[object] | bytes]("fetch")
_ADOPT: Final = Script[list[object] | bytes]("adopt")
_FIRST_STREAM: Final = 4

# How many suspects are tried at once, and up to how many that wait each is alone from the start: it is quicker to find
# the guilty one among few by running each of them alone.
MOST_AT_ONCE: Final = 16
_FEW_SUSPECTS: Final = 16
_SECONDS_BETWEEN_LOOKS: Final = 0.05
_SHORTEST_WAIT: Final = 0.01
# So many workers, about, wait in Redis for a message; the others of a large fleet look once in so many seconds.
_BLOCKED_AT_ONCE: Final = 64
_NAP: Final = 3.0
# A worker whose queue is paused looks so often whether it still is.
_SECONDS_BETWEEN_LOOKS_AT_PAUSED: Final = 1.0
_SHORT_BLOCK_MS: Final = 250
_ADOPTED_AT_ONCE: Final = 100
# Of each stream, by a read that waits: one more than mostly comes shows that there is no more.
_WAITED_FOR: Final = 2


class SuspectRule(StrEnum):
    """Which suspects a worker takes: tasks whose workers have died repeatedly."""

    NONE = "none"
    """None: this worker has a process of its own for them."""
    ONE = "one"
    """One at a time, beside its other tasks."""
    WARD = "ward"
    """Nothing else, and new ones when it has none left: this is such a process."""


class NotRegisteredError(Exception):
    """Redis does not know this worker, which thus may not read."""


class Fetcher:
    """Reads for one worker.

    Args:
        redis: an async client for scripts.
        large: another one, for reads of large messages.
        reader: an async client whose time-out allows for the wait.
        weights: the queues to read, each with its weight.
        misfits: what others have left to this worker.
        paused: what this worker knows of what is paused.
        wait: seconds to wait for a message where there is none.
        most_in_flight: how much memory messages and results may take that this worker has in flight.
        rule: which suspects it takes.
        fleet: gives the number of workers.
    """

    def __init__(
        self,
        redis: ScriptClient,
        large: ScriptClient,
        reader: ScriptClient,
        keys: QueueKeys,
        *,
        group: str,
        weights: Mapping[str, int],
        lease: Lease,
        in_flight: InFlightDeliveries,
        misfits: Misfits,
        paused: PausedNames,
        wait: float,
        most_in_flight: int,
        rule: SuspectRule,
        fleet: Callable[[], int],
    ) -> None:
        self._redis = redis
        self._large = large
        self._reader = reader
        self._keys = keys
        self._group = group
        self._order = WeightedOrder(weights)
        self._entries = EntryReader(keys, weights)
        self._lease = lease
        self._in_flight = in_flight
        self._misfits = misfits
        self._paused = paused
        self._wait_ms = round(wait * 1000)
        self._size = ReadSize(most_in_flight)
        # Each command may go another way then.
        self._is_pooled = isinstance(reader, Redis | RedisCluster)
        self.rule = rule
        self._fleet = fleet
        self._is_backlog = True
        self._waiting: asyncio.Future[object] | None = None
        self.is_interrupted = False
        self.marks = CancelMarks(reader, keys, paused)

    def interrupt(self) -> None:
        """Wait for messages no more; what Redis hands out all the same is found by a look for strays."""
        self.is_interrupted = True
        if self._waiting is not None:
            self._waiting.cancel()

    def resume(self) -> None:
        """Wait for messages again."""
        self.is_interrupted = False

    async def fetch(self, room: int) -> list[Delivery]:
        """Read up to `room` messages, and wait a little where there is none.

        It reads fewer where they are large: about as much memory as is left, and one in any case.

        Raises:
            NotRegisteredError: the lease has ended.
            RedisError: Redis is away.
        """
        rule = self._rule_now()
        if rule is SuspectRule.WARD and len(self._in_flight):
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return []
        if self._misfits.are_there and (deliveries := await self._adopt(min(room, _ADOPTED_AT_ONCE))):
            return deliveries
        if self._is_backlog:
            count, most_bytes = self._size.next(room, self._in_flight.weight)
            order = self._order.next()
            is_large = self._size.is_large and rule is not SuspectRule.WARD
            read = self._read_large if is_large else self._read_at_once
            deliveries = await read(order, count, rule, most_bytes)
            # The script stops where it has come to its bytes.
            self._is_backlog = len(deliveries) >= count or bytes_of(deliveries) >= most_bytes
            if deliveries:
                return deliveries
        may_block = random.random() * self._fleet() < _BLOCKED_AT_ONCE  # noqa: S311  # not a secret
        if not may_block:
            # In Redis, each message that comes would look through all that wait there.
            await self._nap(random.uniform(0, 2 * _NAP))  # noqa: S311  # not a secret
        if self.is_interrupted:
            return []
        # A read that waited for longer than the lease would be handed what others give back that have taken over.
        if (seconds := self._lease.remaining) <= _SHORTEST_WAIT:
            self._is_backlog = True
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return []
        return await self._wait_for_some(rule, room, block_ms=round(seconds * 1000) if may_block else 0)

    def _is_paused(self, stream: str) -> bool:
        return self._paused.has_stream(self._keys.stream(self._entries.queue_of[stream]))

    def _rule_now(self) -> SuspectRule:
        if self.rule is SuspectRule.ONE and self._in_flight.has_suspects:
            return SuspectRule.NONE
        return self.rule

    async def _read_at_once(
        self, order: Sequence[str], room: int, rule: SuspectRule, most_bytes: int
    ) -> list[Delivery]:
        taken = self._taken_now()
        streams = self._keys.all_streams(order)
        arguments: list[Value] = [self._group, taken.worker, room, rule.value, min(room, MOST_AT_ONCE), _FEW_SUSPECTS]
        arguments.append(most_bytes)
        answer = await _FETCH(
            self._redis, [self._keys.workers, self._keys.cancelled, self._keys.paused, *streams], arguments
        )
        if not isinstance(answer, list):
            raise NotRegisteredError
        self.marks.note(answer[0])
        self._paused.note(_split_paused(answer))
        deliveries: list[Delivery] = []
        for place, entries in zip(answer[1::2], answer[2::2], strict=True):
            stream = streams[cast("int", place) - _FIRST_STREAM]
            deliveries += [
                self._entries.delivery(stream, entry, taken) for entry in cast("Sequence[RawEntry]", entries)
            ]
        return self._take(deliveries, taken)

    async def _adopt(self, room: int) -> list[Delivery]:
        taken = self._taken_now()
        queue, entries = self._misfits.take(room)
        returned = self._keys.returned(queue)
        keys = [self._keys.workers, self._keys.misfits(queue), returned, *self._keys.shared]
        answer: list[object] | bytes = b""
        is_foreign = False
        try:
            answer = await _ADOPT(self._redis, keys, [self._group, taken.worker, room, *entries])
        except ResponseError as error:
            # What is there instead will be there the next time as well, and the queue is read meanwhile.
            is_foreign = is_foreign_type(error)
            raise
        finally:
            if not isinstance(answer, list) and not is_foreign:
                self._misfits.put_back(queue, entries)
        if not isinstance(answer, list):
            raise NotRegisteredError
        self.marks.note(answer[0])
        deliveries = [self._entries.delivery(returned, entry, taken) for entry in cast("list[RawEntry]", answer[1:])]
        return self._take(deliveries, taken)

    async def _wait_for_some(self, rule: SuspectRule, room: int, *, block_ms: int) -> list[Delivery]:
        taken = self._taken_now()
        served = self._keys.all_streams(self._order.next())
        streams = [stream for stream in served if not self._is_paused(stream)]
        has_paused = len(streams) < len(served)
        if not streams:
            self._is_backlog = True
            await self._nap(_SECONDS_BETWEEN_LOOKS_AT_PAUSED)
            return []
        if rule is SuspectRule.WARD:
            streams = [stream for stream in streams if stream in self._entries.suspects]
        elif rule is SuspectRule.NONE:
            streams = [stream for stream in streams if stream not in self._entries.suspects]
        # Few of each stream: what is left is then read at once, with the rules of fetch.lua.
        is_plain = rule is not SuspectRule.WARD and not self._size.is_large
        count = _WAITED_FOR if is_plain and room >= _WAITED_FOR * len(streams) else 1
        most_ms = self._block_ms(rule, has_paused=has_paused)
        options = ("COUNT", count, "BLOCK", min(block_ms, most_ms)) if block_ms else ("COUNT", count)
        reading = self._begin_read(self._reader, streams, taken, *options)
        self._waiting = waiting = asyncio.ensure_future(reading)
        # Where both commands are on their way at once, Redis answers the second when the first one has been: an id that
        # was cancelled before its task was sent is known with the task.
        marks = self.marks.begin_look() if block_ms and not self._is_pooled else None
        try:
            deliveries = self._take(self._entries.deliveries(await waiting, taken), taken)
        except asyncio.CancelledError:
            waiting.cancel()
            if self.is_interrupted and not _is_to_end():
                return []
            raise
        finally:
            self._waiting = None
            if marks is not None:
                marks.add_done_callback(_note_error)
        self._is_backlog = has_paused or len(deliveries) >= count
        if deliveries:
            await self.marks.end_look(marks or self.marks.begin_look())
        return deliveries

    def _block_ms(self, rule: SuspectRule, *, has_paused: bool) -> int:
        # The next suspect is not seen by a read that began while there was one in hand; nor is what others leave, nor
        # that a queue is resumed.
        is_long = rule is self.rule and not self._misfits.are_expected
        longest = round(_SECONDS_BETWEEN_LOOKS_AT_PAUSED * 1000) if has_paused else self._wait_ms
        return longest if is_long else min(longest, _SHORT_BLOCK_MS)

    async def _nap(self, seconds: float) -> None:
        """Wait without Redis."""
        loop = asyncio.get_running_loop()
        self._waiting = nap = loop.create_future()
        timer = loop.call_later(seconds, nap.cancel)
        try:
            await nap
        except asyncio.CancelledError:
            if _is_to_end():
                raise
        finally:
            timer.cancel()
            self._waiting = None

    async def _read_large(self, order: Sequence[str], count: int, rule: SuspectRule, most_bytes: int) -> list[Delivery]:
        # A script copies what it hands on several times. It still says whether this worker may read.
        deliveries = await self._read_at_once(order, 0, rule, most_bytes)
        # What is paused is known by now.
        streams = [
            stream
            for stream in self._keys.all_streams(order)
            if stream not in self._entries.suspects and not self._is_paused(stream)
        ]
        if rule is SuspectRule.ONE:
            deliveries += await self._read_at_once(order, 1, rule, most_bytes)
        for stream in streams:
            if len(deliveries) >= count:
                break
            taken = self._taken_now()
            room = count - len(deliveries)
            try:
                deliveries += await self._read(self._large, [stream], taken, "COUNT", room)
            except (RedisError, OSError):
                if not deliveries:
                    raise
                break
        if deliveries:
            await self.marks.end_look(self.marks.begin_look())
        return deliveries

    async def _read(
        self, client: ScriptClient, streams: Sequence[str], taken: Taken, *options: Value
    ) -> list[Delivery]:
        answer = await self._begin_read(client, streams, taken, *options)
        return self._take(self._entries.deliveries(answer, taken), taken)

    def _begin_read(
        self, client: ScriptClient, streams: Sequence[str], taken: Taken, *options: Value
    ) -> Awaitable[object]:
        return client.execute_command(
            "XREADGROUP", "GROUP", self._group, taken.worker, *options, "STREAMS", *streams, *[">"] * len(streams)
        )

    def _taken_now(self) -> Taken:
        return Taken(worker=self._lease.worker, epoch=self._lease.epoch)

    def _take(self, deliveries: Sequence[Delivery], taken: Taken) -> list[Delivery]:
        self._size.note(deliveries)
        # An answer to a name that was lost meanwhile: what it brings is with others, or soon will be.
        return self._in_flight.take(deliveries) if taken.worker == self._lease.worker else []


def _split_paused(found: list[object]) -> list[bytes]:
    """What is paused, which fetch.lua has put behind all else, without which the answer then is."""
    if found[-2:-1] != [0]:
        return []
    paused = cast("list[bytes]", found.pop())
    found.pop()
    return paused


def _note_error(marks: "asyncio.Future[object]") -> None:
    # The read beside it has failed too, and is what is told of.
    if not marks.cancelled():
        marks.exception()


def _is_to_end() -> bool:
    """Whether the caller itself is to end, not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
