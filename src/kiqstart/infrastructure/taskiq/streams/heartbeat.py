"""The thread that keeps a worker's lease, whatever its event loop does."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

from redis.exceptions import RedisError, ResponseError

from kiqstart.infrastructure.taskiq.streams.delivery import DeliveriesInHand, Delivery, local_time
from kiqstart.infrastructure.taskiq.streams.janitor import Janitor
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.lease import Lease
from kiqstart.infrastructure.taskiq.streams.observation import Observation
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.outage import reason
from kiqstart.infrastructure.taskiq.streams.overruns import Overruns
from kiqstart.infrastructure.taskiq.streams.script import Script

if TYPE_CHECKING:
    from redis import Redis

logger = getLogger(__name__)

_BEAT: Final = Script("beat")
_REGISTER: Final = Script("register")
_LEAVE: Final = Script("leave")

_MOVED_AT_ONCE: Final = 500
_SHORTEST_SLEEP: Final = 0.05
_SECONDS_TO_STOP: Final = 5.0
# After so many beats a message that Redis has handed out cannot be on its way to this worker any more; after one, where
# a read was cut off shortly before, it hardly is.
_STRAY_BEATS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Events:
    """What the event loop is told; each is called in its thread.

    Args:
        on_lost: deliveries that others have by now.
        on_cancelled: deliveries whose tasks were cancelled.
    """

    on_lost: Callable[[Sequence[Delivery]], None]
    on_cancelled: Callable[[Sequence[Delivery]], None]


class Heartbeat:
    """Beats for one worker: renews its lease, watches other workers, moves delayed messages, and looks for strays.

    All in a thread with a connection of its own, so that a task which blocks the event loop costs the worker nothing.
    Only a call in C that holds Python's interpreter lock for longer than the lease does.
    """

    def __init__(
        self,
        redis: object,
        keys: QueueKeys,
        *,
        group: str,
        queues: Sequence[str],
        options: StreamOptions,
        lease: Lease,
        in_hand: DeliveriesInHand,
        janitor: Janitor,
        overruns: Overruns,
        events: Events,
    ) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._group = group
        self._queues = queues
        self._options = options
        self._lease = lease
        self._in_hand = in_hand
        self._janitor = janitor
        self._overruns = overruns
        self._events = events
        self._observation = Observation(span=options.observation, longest_gap=options.beat * 2)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._is_stopping = False
        self._is_out = False
        self._groups_missing = False
        self._tidied_at = local_time()
        self._strays_until = float("-inf")
        self._dropped = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Register this worker and begin to beat.

        Raises:
            RedisError: Redis is away, or a key of the queue holds something else.
        """
        self._loop = loop
        self._register(self._lease.begin())
        self._dropped = int(cast("bytes", self._redis.get(self._keys.dropped) or 0))
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and leave. Call it when nothing is in hand; what Redis has handed out beside is given back."""
        self._is_stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_STOP)
        self._lease.lapse()
        with suppress(RedisError, OSError):
            with suppress(ResponseError):  # a stream or its group was deleted
                self._give_back_strays(beats=0)
            keys = [self._keys.workers, self._keys.janitor, *self._keys.all_streams(self._queues)]
            _LEAVE.in_thread(self._redis, keys, [self._group, self._lease.worker])
        with suppress(RedisError, OSError):
            self._redis.close()

    def register_again(self) -> None:
        """Redis has lost the groups: make them again with the next beat, which is now."""
        self._groups_missing = True
        self._wake.set()

    def look_for_strays(self) -> None:
        """A read was cut off: look with each of the next beats for messages that Redis has handed out with it."""
        self._strays_until = local_time() + self._options.beat * _STRAY_BEATS

    def give_back_all(self) -> None:
        """Give back whatever is in hand, in whichever thread this is called.

        Raises:
            RedisError: Redis is away.
        """
        self._give_back_others("")

    def _run(self) -> None:
        while not self._is_stopping:
            sleep = self._options.beat
            try:
                sleep = min(self._beat(), sleep)
                if self._is_out:
                    logger.info("Redis is back; this worker goes on")
                self._is_out = False
            except (RedisError, OSError) as error:
                if not self._is_out:
                    logger.warning("Redis is out of reach, trying again: %s", reason(error))
                self._is_out = True
                sleep /= 5
            except Exception:
                logger.exception("The lease's thread goes on after an error")
            self._wake.wait(max(sleep, _SHORTEST_SLEEP))
            self._wake.clear()

    def _beat(self) -> float:
        began_at = local_time()
        names = self._keys
        keys = [names.workers, names.epoch, names.delayed, names.delayed_messages, names.dead, names.dropped]
        beat_ms = self._options.beat * 1000
        answer = cast(
            "list[object]",
            _BEAT.in_thread(
                self._redis,
                [*keys, names.cancelled, names.janitor],
                [
                    self._lease.worker,
                    round(beat_ms * 1.5),
                    _MOVED_AT_ONCE,
                    round(self._options.dead_letter_age * 1000),
                    round(beat_ms * 10),
                ],
            ),
        )
        registered, epoch, next_due, cancelled, dropped, is_janitor = answer[:6]
        if registered and not self._groups_missing:
            self._lease.renewed(began_at)
        else:
            self._come_back(cast("bytes", epoch).decode(), is_registered=bool(registered))
        self._watch(cast("list[bytes]", answer[6]))
        self._overruns.check(self._give_back_others)
        if cancelled:
            self._find_cancelled()
        if began_at < self._strays_until:
            self._give_back_strays(beats=1)
        if began_at - self._tidied_at > self._options.beat * _STRAY_BEATS:
            self._tidied_at = began_at
            self._tidy(is_janitor=bool(is_janitor), dropped=cast("int", dropped))
        return cast("int", next_due) / 1000 if cast("int", next_due) >= 0 else self._options.beat

    def _come_back(self, epoch: str, *, is_registered: bool) -> None:
        self._groups_missing = False
        if is_registered or epoch != self._lease.epoch:
            # Redis has lost its data. Nobody else has what this worker runs, so that goes on.
            self._register(self._lease.worker)
            logger.warning("Redis had lost the queue; this worker has made it anew")
            return
        lost = self._in_hand.all()
        for delivery in lost:
            delivery.is_lost = True
        self._register(self._lease.begin())
        logger.warning("This process stood still for too long, and its tasks were given to others: %d", len(lost))
        self._tell(self._events.on_lost, lost)

    def _register(self, worker: str) -> None:
        began_at = local_time()
        keys = [self._keys.workers, self._keys.epoch, self._keys.queues, *self._keys.all_streams(self._queues)]
        epoch = _REGISTER.in_thread(self._redis, keys, [self._group, worker, uuid4().hex, *self._queues])
        self._lease.registered(cast("bytes", epoch).decode(), began_at)

    def _watch(self, flat: Sequence[bytes]) -> None:
        late = {name.decode(): beat.decode() for name, beat in zip(flat[::2], flat[1::2], strict=True)}
        late.pop(self._lease.worker, None)
        for worker, beat in self._observation.look(late, local_time()):
            self._janitor.take_over(worker, beat)

    def _find_cancelled(self) -> None:
        deliveries = [one for one in self._in_hand.all() if one.message is not None and not one.is_cancelled]
        if not deliveries:
            return
        marks = cast("list[object]", self._redis.zmscore(self._keys.cancelled, [one.task_id for one in deliveries]))
        cancelled = [one for one, mark in zip(deliveries, marks, strict=True) if mark is not None]
        for delivery in cancelled:
            delivery.is_cancelled = True
        if cancelled:
            self._tell(self._events.on_cancelled, cancelled)

    def _tidy(self, *, is_janitor: bool, dropped: int) -> None:
        self._give_back_strays(beats=_STRAY_BEATS)
        if is_janitor:
            self._janitor.reclaim_orphans()
            if dropped > self._dropped:
                logger.warning("%d dead letters were dropped: too old or too many", dropped - self._dropped)
        self._dropped = dropped

    def _give_back_strays(self, *, beats: int) -> None:
        idle_ms = round(self._options.beat * beats * 1000)
        self._janitor.give_back_strays(self._queues, self._lease.worker, idle_ms)

    def _give_back_others(self, task_id: str) -> None:
        others = [one for one in self._in_hand.all() if one.task_id != task_id and not one.is_lost]
        for delivery in others:
            delivery.is_lost = True
        self._janitor.give_back_all(others)

    def _tell(self, receiver: Callable[[Sequence[Delivery]], None], deliveries: Sequence[Delivery]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(receiver, deliveries)
