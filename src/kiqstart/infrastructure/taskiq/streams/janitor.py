"""Takes the tasks of dead workers, and what went astray, back to where the living find it."""

from collections.abc import Callable, Iterable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.infrastructure.taskiq.streams.delivery import DeliveriesInHand, Delivery
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import WORKER_PREFIX
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.script import Script, Value

if TYPE_CHECKING:
    from redis import Redis

logger = getLogger(__name__)

_FENCE: Final = Script("fence")
_RECLAIM: Final = Script("reclaim")
_GIVE_BACK: Final = Script("give_back")
_AT_ONCE: Final = 100
# A consumer that is none of ours is one of plain taskiq-redis, which takes over after ten minutes itself.
_FOREIGN_IDLE_MS: Final = 600_000


class Janitor:
    """What a worker does for the queue in its lease's thread.

    Args:
        redis: a client that blocks.
        on_dead_letter: is given each message that was buried since its workers died of it.
    """

    def __init__(
        self,
        redis: object,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        in_hand: DeliveriesInHand,
        on_dead_letter: Callable[[bytes], None],
    ) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._group = group
        self._options = options
        self._in_hand = in_hand
        self._on_dead_letter = on_dead_letter

    def take_over(self, worker: str, beat: str) -> None:
        """End the lease of a dead worker, unless it has beaten since, and give its tasks back."""
        if not _FENCE.in_thread(self._redis, [self._keys.workers], [worker, beat]):
            return
        count = sum(self._reclaim(queue, stream, worker, idle_ms=0) for queue, stream in self._streams())
        logger.warning("Worker %s is gone; the tasks it had are given to others: %d", worker, count)

    def reclaim_orphans(self) -> None:
        """Give back what consumers have that are no workers any more, and forget them."""
        registered = {name.decode() for name in cast("list[bytes]", self._redis.zrange(self._keys.workers, 0, -1))}
        for queue, stream in self._streams():
            for consumer in self._consumers(stream) - registered:
                idle_ms = 0 if consumer.startswith(WORKER_PREFIX) else _FOREIGN_IDLE_MS
                count = self._reclaim(queue, stream, consumer, idle_ms=idle_ms)
                if count:
                    logger.warning("Consumer %s is no worker; its tasks are given to others: %d", consumer, count)

    def give_back_strays(self, queues: Iterable[str], worker: str, idle_ms: int) -> None:
        """Give back what Redis has handed to this worker without it having arrived: its connection was cut."""
        for queue in queues:
            for stream in self._keys.streams(queue):
                pending = self._pending(stream, worker, idle_ms)
                strays = self._in_hand.strangers(stream, pending)
                if strays:
                    logger.info("%d tasks had not arrived here and are given back", len(strays))
                    self.give_back(queue, stream, strays, worker)

    def give_back_all(self, deliveries: Sequence[Delivery]) -> None:
        """Give back deliveries of this worker, without counting them against their tasks."""
        for one in deliveries:
            self.give_back(one.queue, one.stream, [one.entry], one.worker)

    def give_back(self, queue: str, stream: str, entries: Sequence[str], worker: str) -> None:
        """Give back entries of this worker, without counting them against their tasks."""
        keys, arguments = give_back_call(self._keys, self._options, self._group, queue, stream, worker, entries)
        _GIVE_BACK.in_thread(self._redis, keys, arguments)

    def _reclaim(self, queue: str, stream: str, consumer: str, *, idle_ms: int) -> int:
        names, total = self._keys, 0
        keys = [names.workers, stream, names.returned(queue), names.suspects(queue), names.stream(queue)]
        keys += [names.dead, names.dropped, names.uniques]
        options = self._options
        arguments: list[Value] = [
            self._group,
            consumer,
            idle_ms,
            _AT_ONCE,
            options.max_deliveries,
            options.dead_letter_limit,
        ]
        while True:
            answer = cast("list[object]", _RECLAIM.in_thread(self._redis, keys, arguments))
            more, count, *buried = answer
            total += cast("int", count)
            for message in buried:
                self._on_dead_letter(cast("bytes", message))
            if not more:
                return total

    def _streams(self) -> list[tuple[str, str]]:
        queues = [name.decode() for name in cast("set[bytes]", self._redis.smembers(self._keys.queues))]
        return [(queue, stream) for queue in queues for stream in self._keys.streams(queue)]

    def _consumers(self, stream: str) -> set[str]:
        try:
            consumers = cast("list[dict[str, bytes]]", self._redis.xinfo_consumers(stream, self._group))
        except ResponseError:  # no such key or no such group: nothing was ever read from it
            return set()
        return {one["name"].decode() for one in consumers}

    def _pending(self, stream: str, worker: str, idle_ms: int) -> list[str]:
        entries: list[str] = []
        start = "-"
        while True:
            page = self._redis.xpending_range(
                stream, self._group, min=start, max="+", count=_AT_ONCE, consumername=worker, idle=idle_ms
            )
            found = [cast("bytes", one["message_id"]).decode() for one in cast("list[dict[str, object]]", page)]
            entries += found
            if len(found) < _AT_ONCE:
                return entries
            start = f"({found[-1]}"


def give_back_call(
    keys: QueueKeys,
    options: StreamOptions,
    group: str,
    queue: str,
    stream: str,
    worker: str,
    entries: Sequence[str],
) -> tuple[list[str], list[Value]]:
    """Keys and arguments of the script that gives entries of one stream back."""
    names = [stream, keys.returned(queue), keys.suspects(queue), keys.stream(queue)]
    names += [keys.dead, keys.dropped, keys.uniques]
    return names, [group, worker, options.max_deliveries, options.dead_letter_limit, *entries]
