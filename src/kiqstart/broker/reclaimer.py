"""Takes the tasks of dead workers, and what went astray, back to where the living find it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from logging import getLogger
from typing import Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.failure_detector import FailureDetector
from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import WORKER_PREFIX, is_ward, watch_span
from kiqstart.broker.lost_workers import MOST_LOST_KEPT, SECONDS_LOST_KEPT
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.quarantine.condemnation import Condemnation
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import queue_names, raw_name
from kiqstart.broker.script import Script
from kiqstart.broker.worker_info import place_of
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands, PendingEntry, Value

logger = getLogger(__name__)

_FENCE: Final = Script[list[bytes] | None]("fence")
_RECLAIM: Final = Script[list[object]]("reclaim")
_GIVE_BACK: Final = Script[int]("give_back")
_TESTIFY: Final = Script[tuple[int, bytes, int, list[bytes]] | tuple[()]]("testify")
_STRAYS: Final = Script[list[list[bytes]]]("strays")
_AT_ONCE: Final = 100
# A consumer that is none of ours is one of plain taskiq-redis, which takes over after ten minutes itself.
_FOREIGN_IDLE_MS: Final = 600_000
# Deaths without a witness that are the last ones, whatever they say against the task: those of all workers, and (beyond
# `max_deliveries`) those of workers that can start no quarantine.
_LAST_DEATH: Final = 101
_TRIES_WITHOUT_QUARANTINE: Final = 2
# Between two looks for orphans, which are a few beats apart.
_LONGEST_GAP_BEATS: Final = 15
_FIRST_OF_TESTIMONY: Final = 9
# As the last one against which a death counts.
_ALL_ENTRIES: Final = "+"


class Reclaimer:
    """Takes the tasks of dead workers, and what went astray, back to where the living find it.

    Args:
        redis: a client that blocks.
        condemn: ends what its workers have died of.
        queues: those that this worker takes; it looks after all others that are known, too.
        keep: keeps this worker's own lease meanwhile.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        in_flight: InFlightDeliveries,
        condemn: Condemnation,
        queues: Sequence[str],
        keep: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._queues = list(queues)
        self._options = options
        self._in_flight = in_flight
        self._condemn = condemn
        self._keep = keep
        self._orphans = FailureDetector(
            span=lambda consumer: watch_span(consumer, options.lease), longest_gap=options.beat * _LONGEST_GAP_BEATS
        )

    def take_over(self, worker: str, beat: str) -> bool:
        """End the lease of a dead worker, unless it has beaten since, and give its tasks back."""
        streams = self._streams()
        keys = [self._keys.workers, self._keys.worker_info, *(stream for _, stream in streams)]
        arguments: list[Value] = [raw_name(worker), beat, MOST_LOST_KEPT, SECONDS_LOST_KEPT * 1000, self._group]
        answer = _FENCE.in_thread(self._redis, keys, arguments)
        if answer is None:
            return False
        info, *last_entries = answer
        # Before the first one is given back.
        last_death = 1 if self._options.max_deliveries == 1 and self._had_one(worker, streams) else None
        count = 0
        for (queue, stream), last in zip(streams, last_entries, strict=True):
            self._keep()
            count += self._reclaim(queue, stream, worker, idle_ms=0, last_death=last_death, last_entry=last.decode())
        with without_foreign_keys():
            self._redis.srem(self._keys.draining, raw_name(worker))
        host, pid = place_of(info)
        logger.warning(
            "Worker %r on %r, process %d, is gone; the tasks it had are given to others: %d", worker, host, pid, count
        )
        return True

    def count_suspects(self, queues: Iterable[str]) -> int:
        """How many suspects of these queues wait for a worker; those of paused queues wait for none."""
        paused, count = PausedNames(), 0
        with without_foreign_keys():
            paused.note(self._redis.hkeys(self._keys.paused))
        open_queues = [queue for queue in queues if not paused.has_stream(self._keys.stream(queue))]
        streams = [stream for queue in open_queues for stream in self._keys.quarantine(queue)]
        for stream in streams:
            with without_foreign_keys():
                count += self._waiting(stream)
        return count

    def testify(self, worker: str, queues: Iterable[str], *, witness: str, beat: int | None) -> bool:
        """Say that a process has died to which this one had given suspects; gives whether one of them was condemned.

        Args:
            worker: that process.
            queues: of which it has taken suspects.
            witness: this worker.
            beat: its last one, which Redis has unless it has come back with older data; None where it is not certain
                that Redis knows what that process had.
        """
        names = self._keys
        streams = [(queue, stream) for queue in queues for stream in names.quarantine(queue)]
        keys = [names.workers, *names.shared, *(stream for _, stream in streams)]
        arguments: list[Value] = [self._group, worker, witness, "" if beat is None else beat]
        found = _TESTIFY.in_thread(self._redis, keys, arguments)
        with without_foreign_keys():
            self._redis.hdel(names.worker_info, worker)
        if found:
            place, entry, deaths, raw = found
            queue, stream = streams[place - _FIRST_OF_TESTIMONY]
            self._condemn(queue, stream, worker, entry.decode(), deaths, raw)
        return bool(found)

    def blame(self, delivery: Delivery) -> None:
        """Count a death against a task for whose sake its worker ends, and has left."""
        last_death = self._options.max_deliveries
        self._reclaim(delivery.queue, delivery.stream, delivery.worker, idle_ms=0, last_death=last_death)

    def reclaim_orphans(self, orphans: Sequence[tuple[str, str, str]]) -> None:
        """Give back what consumers have that have been no workers for as long as a lease, and forget them.

        Sooner it could be a living worker's that reads already, but has not noticed yet that Redis has lost its name.
        Nothing is known to have died of it: it came to a name that was gone, or its worker could not give it back as it
        left. What a worker had when its lease was ended has its death counted by whoever has ended it.

        Args:
            orphans: consumers that are no workers now, with the queue and the stream of which each has entries.
        """
        gone = dict(self._orphans.look({consumer: "" for consumer, _, _ in orphans}, local_time()))
        for consumer, queue, stream in orphans:
            if consumer not in gone:
                continue
            self._keep()
            is_ours = consumer.startswith(WORKER_PREFIX)
            idle_ms, deaths = (0, 0) if is_ours else (_FOREIGN_IDLE_MS, 1)
            count = self._reclaim(queue, stream, consumer, idle_ms=idle_ms, deaths=deaths)
            if count:
                logger.warning("Consumer %r is no worker; its tasks are given to others: %d", consumer, count)

    def give_back_strays(self, queues: Iterable[str], worker: str, idle_ms: int) -> None:
        """Give back what Redis has handed to this worker without it having arrived: its connection was cut."""
        streams = [(queue, stream) for queue in queues for stream in self._keys.streams(queue)]
        keys = [stream for _, stream in streams]
        pending = _STRAYS.in_thread(self._redis, keys, [self._group, worker, idle_ms])
        strays = [
            self._in_flight.unknown_entries(stream, [entry.decode() for entry in entries])
            for stream, entries in zip(keys, pending, strict=True)
        ]
        for (queue, stream), entries in zip(streams, strays, strict=True):
            if entries:
                self._keep()
                logger.info("%d tasks had not arrived here and are given back", len(entries))
                self._give_back(queue, stream, entries, worker)

    def give_back_all(self, deliveries: Sequence[Delivery]) -> None:
        """Give back deliveries of this worker, without counting them against their tasks."""
        by_stream = sorted(deliveries, key=lambda one: (one.queue, one.stream, one.worker))
        for (queue, stream, worker), group in groupby(by_stream, key=lambda one: (one.queue, one.stream, one.worker)):
            self._give_back(queue, stream, [one.entry for one in group], worker)

    def _give_back(self, queue: str, stream: str, entries: Sequence[str], worker: str) -> None:
        keys, arguments = give_back_call(self._keys, self._group, queue, stream, worker, entries)
        _GIVE_BACK.in_thread(self._redis, keys, arguments)

    def _reclaim(
        self,
        queue: str,
        stream: str,
        consumer: str,
        *,
        idle_ms: int,
        deaths: int = 1,
        last_death: int | None = None,
        last_entry: str = _ALL_ENTRIES,
    ) -> int:
        names, total = self._keys, 0
        keys = [names.workers, names.draining, stream, names.returned(queue), names.suspects(queue)]
        keys += [names.isolated(queue), *names.shared]
        arguments: list[Value] = [self._group, raw_name(consumer), idle_ms, _AT_ONCE, self._options.deaths_of_a_suspect]
        arguments += [last_death or self._last_death(queue, stream, consumer), deaths, last_entry]
        while True:
            answer = _RECLAIM.in_thread(self._redis, keys, arguments)
            more, count, *last = answer
            total += cast("int", count)
            condemned = [
                self._condemn(queue, stream, consumer, cast("bytes", entry).decode(), cast("int", deaths), raw)
                for entry, deaths, raw in zip(last[::3], last[1::3], cast("list[list[bytes]]", last[2::3]), strict=True)
            ]
            if not more or not (count or any(condemned)):
                return total

    def _last_death(self, queue: str, stream: str, consumer: str) -> int:
        if is_ward(consumer):
            return _LAST_DEATH
        if not self._options.quarantine:
            return self._options.max_deliveries
        if stream in self._keys.quarantine(queue):
            return self._options.max_deliveries + _TRIES_WITHOUT_QUARANTINE
        return _LAST_DEATH

    def _had_one(self, worker: str, streams: Iterable[tuple[str, str]]) -> bool:
        """Whether a dead worker had a single task, so that no other one can be to blame; a ward has its own witness."""
        return not is_ward(worker) and sum(len(self._first_pending(stream, worker)) for _, stream in streams) == 1

    def _first_pending(self, stream: str, worker: str) -> list[PendingEntry]:
        try:
            return self._redis.xpending_range(
                stream, self._group, min="-", max="+", count=2, consumername=raw_name(worker)
            )
        except ResponseError:  # no such key or no such group
            return []

    def _streams(self) -> list[tuple[str, str]]:
        queues = set(self._queues)
        with without_foreign_keys():
            queues.update(queue_names(self._redis.smembers(self._keys.queues)))
        return [(queue, stream) for queue in sorted(queues) for stream in self._keys.streams(queue)]

    def _waiting(self, stream: str) -> int:
        entries = self._redis.xlen(stream)
        if not entries:
            return 0
        try:
            return entries - self._redis.xpending(stream, self._group)["pending"]
        except ResponseError:  # no such group: nobody reads from it yet
            return 0


def give_back_call(
    keys: QueueKeys, group: str, queue: str, stream: str, worker: str, entries: Sequence[str]
) -> tuple[list[str], list[Value]]:
    """Keys and arguments of the script that gives entries of one stream back; a suspect stays one."""
    target = stream if stream in keys.quarantine(queue) else keys.returned(queue)
    return [stream, target, *keys.shared], [group, worker, *entries]
