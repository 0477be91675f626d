"""The thread that keeps a worker's lease, whatever its event loop does."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError, ResponseError

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.in_flight import InFlightDeliveries
from kiqstart.broker.janitor import Janitor
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease, is_ward
from kiqstart.broker.loop_watch import LoopWatch
from kiqstart.broker.misfits import Misfits
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.quarantine.testimony import Testimonies
from kiqstart.broker.receiver.timeout_watchdog import TimeoutWatchdog
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.redis_retry import reason, without_foreign_keys
from kiqstart.broker.registrar import Registrar
from kiqstart.broker.run_stats import RunStats
from kiqstart.broker.running import RunningReport
from kiqstart.broker.worker_load import LoadReporter
from kiqstart.clock import local_time
from kiqstart.processes.signal_safe_event import SignalSafeEvent
from kiqstart.redis.commands import BlockingCommands
from kiqstart.tasks.errors import WiringError

if TYPE_CHECKING:
    from concurrent.futures import Future


logger = getLogger(__name__)

_SHORTEST_SLEEP: Final = 0.05
_SECONDS_TO_STOP: Final = 5.0
# After so many beats a message that Redis has handed out cannot be on its way to this worker any more; after one, where
# a read was cut off shortly before, it hardly is.
_STRAY_BEATS: Final = 5
_IDLE_STRAY_BEATS: Final = 30
# An event loop that has done nothing for so long is blocked: what waits in it can run elsewhere meanwhile.
_SECONDS_OF_A_BLOCKED_LOOP: Final = 1.0
_SECONDS_OF_DOUBT: Final = 60.0
# Whoever asks twice within this time has asked once: a clean-up is cut off by who cancels its task again later.
_MS_OF_ONE_CANCELLATION: Final = 1000
# A clock of this machine and that of Redis are compared anew so often.
_BEATS_BETWEEN_CLOCKS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Events:
    """What the event loop is told; each is called in its thread.

    Args:
        on_lost: deliveries that others have by now.
        on_cancelled: deliveries whose tasks were cancelled.
        on_suspects: how many suspects wait.
    """

    on_lost: Callable[[Sequence[Delivery]], None]
    on_cancelled: Callable[[Sequence[Delivery]], None]
    on_suspects: Callable[[int], None]


class Heartbeat:
    """Beats for one worker: renews its lease, takes its turn as janitor, and looks for strays and cancelled tasks.

    All in a thread with a connection of its own, so that a task which blocks the event loop costs the worker nothing.
    Only a call in C that holds Python's interpreter lock for longer than the lease does. A beat of an idle worker is
    one command, also the janitor's.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        queues: Sequence[str],
        options: StreamOptions,
        lease: Lease,
        registrar: Registrar,
        stats: RunStats,
        running: RunningReport,
        load: LoadReporter,
        in_flight: InFlightDeliveries,
        misfits: Misfits,
        reclaimer: Reclaimer,
        janitor: Janitor,
        timeout_watchdog: TimeoutWatchdog,
        events: Events,
        testimonies: Testimonies,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._queues = queues
        self._options = options
        self._lease = lease
        self._registrar = registrar
        self._stats = stats
        self._running = running
        self._load = load
        self._in_flight = in_flight
        self._misfits = misfits
        self._reclaimer = reclaimer
        self._janitor = janitor
        self._timeout_watchdog = timeout_watchdog
        self._events = events
        self._testimonies = testimonies
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = SignalSafeEvent()
        self._is_stopping = False
        self._is_out = False
        self._is_blocked = False
        self._is_draining = False
        self._drained = ""
        self._groups_missing = False
        self._watch: LoopWatch | None = None
        self._tidied_at = self._clock_read_at = local_time()
        self._strays_until = float("-inf")

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Register this worker and begin to beat.

        Raises:
            WiringError: the queue belongs to another group, or was left by a newer version.
            RedisError: Redis is away, or a key of the queue holds something else.
        """
        self._loop = loop
        self._registrar.register(self._lease.begin())
        self._janitor.begin()
        self._watch = LoopWatch(loop)
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
            self._stats.flush()
            self._registrar.leave(self._lease.worker)
        with suppress(RedisError, OSError):
            self._redis.close()

    def register_again(self) -> None:
        """Redis has lost the groups: make them again with the next beat, which is now."""
        self._groups_missing = True
        self._wake.set()

    def look_for_strays(self) -> None:
        """A read was cut off: look with each of the next beats for messages that Redis has handed out with it."""
        self._strays_until = local_time() + self._options.beat * _STRAY_BEATS

    def drain(self) -> None:
        """Say with the next beat, which is now, that this worker was asked to end. A signal's handler may call it."""
        self._is_draining = True
        self._wake.set()

    def count_suspects(self) -> int:
        """How many suspects wait that this worker may take; to be called in a thread."""
        return self._reclaimer.count_suspects(self._queues)

    def testify(self, worker: str, loss: int) -> "Future[bool]":
        """Say with the next beat, which is now, that a process has died to which this worker had given suspects.

        Gives whether a task is condemned by it. That needs that the last `loss` of data was the same one to both.
        """
        answer = self._testimonies.add(worker, loss)
        self._wake.set()
        return answer

    def give_back_all(self) -> None:
        """Give back whatever is in hand, in whichever thread this is called.

        Raises:
            RedisError: Redis is away.
        """
        held = [one for one in self._in_flight.all() if not one.is_lost]
        for delivery in held:
            delivery.is_lost = True
        self._reclaimer.give_back_all(held)

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
            except WiringError as error:
                if not self._is_out:
                    logger.error("This worker cannot register again, trying again: %s", error)  # noqa: TRY400  # one line
                self._is_out = True
            except Exception:
                logger.exception("The lease's thread goes on after an error")
            self._wake.wait(max(sleep, _SHORTEST_SLEEP))

    def _beat(self) -> float:
        began_at = local_time()
        is_registered = self._janitor.beat()
        if is_registered and not self._groups_missing:
            self._lease.renewed(began_at)
        else:
            self._come_back(is_registered=is_registered)
        # Whatever goes wrong below, the lease is renewed.
        if self._registrar.beat_before_loss is not None:
            self._see_to_older_data(self._registrar.beat_before_loss)
        self._testimonies.give()
        if self._is_draining and self._drained != self._lease.worker:
            self._say_that_it_drains()
        self._timeout_watchdog.check(self._leave_with_blame)
        blocked_since = self._blocked_since()
        blocking = None if blocked_since is None or self._loop is None else self._in_flight.in_control(self._loop)
        self._log_block(blocked_since, blocking)
        if blocked_since is not None:
            self._relieve_blocked_loop()
        if len(self._in_flight):
            with without_foreign_keys():
                self._find_cancelled()
        state = self._janitor.take_turn()
        if state is not None and state.suspects:
            self._tell(self._events.on_suspects, state.suspects)
        if state is not None and state.misfits and not (self._is_draining or is_ward(self._lease.worker)):
            self._misfits.look()
        self._stats.flush()
        self._running.say(blocking)
        if self._watch is not None and not is_ward(self._lease.worker):
            self._load.report(self._lease.worker, self._watch, blocked_since)
        self._look_around(began_at)
        if state is not None:
            return state.seconds
        # Under its new name it looks at once.
        return self._options.beat if is_registered else 0.0

    def _see_to_older_data(self, last_beat: int) -> None:
        """Others are told who may not live any more, and get what older data have as this worker's."""
        logger.warning("Redis has come back with older data; this worker goes on with what it runs")
        loss = self._registrar.note_older_data(last_beat)
        self._give_back_strays(beats=0)
        if self._is_draining:
            self._say_that_it_drains()
        self._running.say_anew()
        self._registrar.has_seen_to_older_data()
        self._testimonies.note_loss(loss)

    def _say_that_it_drains(self) -> None:
        # A Redis that is full refuses it; nothing else may wait for that.
        with suppress(RedisError):
            self._registrar.drain(self._lease.worker)
            self._drained = self._lease.worker

    def _look_around(self, began_at: float) -> None:
        if began_at < self._strays_until:
            self._give_back_strays(beats=1)
        if began_at - self._tidied_at > self._options.beat * self._beats_between_strays():
            self._tidied_at = began_at
            self._give_back_strays(beats=_STRAY_BEATS)
        if began_at - self._clock_read_at > self._options.beat * _BEATS_BETWEEN_CLOCKS:
            self._clock_read_at = began_at
            self._registrar.read_clock()

    def _come_back(self, *, is_registered: bool) -> None:
        self._groups_missing = False
        if is_registered or self._registrar.was_lost_with_data():
            # Nobody else has what this worker runs, so that goes on.
            loss = None if is_registered else self._registrar.note_older_data(self._registrar.last_beat)
            self._registrar.register(self._lease.worker)
            logger.warning("Redis had lost the queue, or came back with older data; this worker is registered again")
            if loss is not None:
                self._drained = ""
                self._testimonies.note_loss(loss)
            return
        lost = self._in_flight.all()
        for delivery in lost:
            delivery.is_lost = True
        self._registrar.register(self._lease.begin())
        logger.warning("This process stood still for too long, and its tasks were given to others: %d", len(lost))
        self._tell(self._events.on_lost, lost)

    def _blocked_since(self) -> float | None:
        """The `local_time` since which the event loop does nothing; None where it turns, as far as is known."""
        owed = 0.0 if self._watch is None else self._watch.ask()
        return None if owed < max(_SECONDS_OF_A_BLOCKED_LOOP, self._options.beat * 2) else local_time() - owed

    def _log_block(self, blocked_since: float | None, blocking: Delivery | None) -> None:
        """Log once that the event loop is blocked, and once that it turns again."""
        was_blocked, self._is_blocked = self._is_blocked, blocked_since is not None
        if was_blocked and blocked_since is None:
            logger.info("The event loop turns again")
        elif blocked_since is not None and not was_blocked:
            task = "" if blocking is None else f" by {blocking.task_name} (id {blocking.task_id})"
            logger.warning("The event loop has been blocked for %.1f s%s", local_time() - blocked_since, task)

    def _relieve_blocked_loop(self) -> None:
        waiting = self._in_flight.withdraw_waiting()
        if waiting:
            logger.warning("The event loop is blocked; %d tasks that wait in it are given to others", len(waiting))
            self._reclaimer.give_back_all(waiting)
        self._give_back_strays(beats=1)

    def _find_cancelled(self) -> None:
        if not self._redis.zcard(self._keys.cancelled):
            return
        deliveries = [one for one in self._in_flight.all() if one.message is not None and _may_be_cancelled(one)]
        if not deliveries:
            return
        names = [name for one in deliveries for name in (one.task_id, one.mark)]
        marks = self._redis.zmscore(self._keys.cancelled, names)
        cancelled: list[Delivery] = []
        for delivery, *pair in zip(deliveries, marks[::2], marks[1::2], strict=True):
            until = max((mark for mark in pair if mark is not None), default=None)
            if until is None:
                continue
            if delivery.cancelled_until is None or until > delivery.cancelled_until + _MS_OF_ONE_CANCELLATION:
                delivery.is_cancelled, delivery.cancelled_until = True, until
                cancelled.append(delivery)
        if cancelled:
            self._tell(self._events.on_cancelled, cancelled)

    def _beats_between_strays(self) -> int:
        is_in_doubt = local_time() - self._strays_until < _SECONDS_OF_DOUBT
        return _STRAY_BEATS if is_in_doubt or len(self._in_flight) else _IDLE_STRAY_BEATS

    def _give_back_strays(self, *, beats: int) -> None:
        idle_ms = round(self._options.beat * beats * 1000)
        self._reclaimer.give_back_strays(self._queues, self._lease.worker, idle_ms)

    def _leave_with_blame(self, task_id: str) -> None:
        """This process ends because of one task: it alone has this death counted, and the others are given back."""
        held = [one for one in self._in_flight.all() if not one.is_lost]
        for delivery in held:
            delivery.is_lost = True
        self._reclaimer.give_back_all([one for one in held if one.task_id != task_id])
        self._registrar.leave(self._lease.worker)
        for delivery in held:
            if delivery.task_id == task_id:
                self._reclaimer.blame(delivery)

    def _tell(self, receiver: Callable[..., None], what: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(receiver, what)


def _may_be_cancelled(delivery: Delivery) -> bool:
    """Whether a mark would cancel it: also once more, where what a cancellation has begun does not end."""
    return not delivery.is_cancelled or (delivery.cancelled_until is not None and delivery.is_in_function)
