"""The role that one worker of all has: it finds dead workers, moves what is due, and tidies up."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from logging import getLogger
from math import inf
from typing import Final, TypeVar

from redis.exceptions import ResponseError

from kiqstart.broker.failure_detector import FailureDetector
from kiqstart.broker.forgetting import Forgetting
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease, is_ward, watch_span
from kiqstart.broker.looks import LateWorkers, QueueState, TendAnswer, Tidying, WatchAnswer, WholeQueue
from kiqstart.broker.misfit_recall import MisfitRecall
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.redis_retry import may_pass, reason, without_foreign_keys
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.registrar import Registrar
from kiqstart.broker.results import encode_failure
from kiqstart.broker.run_bounds import RunBounds
from kiqstart.broker.script import Script
from kiqstart.broker.unique_key_audit import UniqueKeyAudit
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands, Value
from kiqstart.tasks.results.errors import TaskCancelledError, UnreadableTaskError

logger = getLogger(__name__)

Seen = TypeVar("Seen", LateWorkers, WholeQueue)
_WATCH: Final = Script[WatchAnswer]("watch")
_TEND: Final = Script[TendAnswer]("tend")
_MOVE: Final = Script[list[int]]("move")

_MOVED_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
_UNREADABLE_MS: Final = 60_000
_PLACEHOLDER: Final = "__cancelled_task__"
_LATE_BEATS: Final = 1.5
_LATE_AT_ONCE: Final = 50
# In beats: how seldom the others look at most whether the janitor lives, the more so the more they are; how often it
# tidies.
_LONGEST_BEATS_BETWEEN_LOOKS: Final = 5
_WORKERS_PER_BEAT: Final = 4
_BEATS_BETWEEN_TIDYING: Final = 5
_BEATS_BETWEEN_AUDITS: Final = 60
# How many consumers without entries Redis lists within one step.
_CONSUMERS_AT_ONCE: Final = 2000


class Janitor:
    """One worker's part in it: the janitor's, or that of one who looks whether there is one.

    The role belongs to a registered worker, so it ends with that one's lease. Each worker looks for others that are
    late with their beat, the less often the more workers there are; the janitor looks at all of them with each of its
    beats. A look and the beat are one command.

    Args:
        redis: a client that blocks.
        queues: those that this worker takes.
        result_ttl: seconds for which results are kept; None for ever.
        registrar: beats, also between the janitor's duties.

    Attributes:
        workers: how many workers there are, as far as is known.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        group: str,
        queues: Sequence[str],
        options: StreamOptions,
        lease: Lease,
        reclaimer: Reclaimer,
        result_ttl: float | None,
        registrar: Registrar,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._options = options
        self._lease = lease
        self._reclaimer = reclaimer
        self._registrar = registrar
        # All that are known: others go by what the janitor says of suspects.
        self._queues = list(queues)
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._detector = FailureDetector(
            span=lambda worker: watch_span(worker, options.lease), longest_gap=options.beat * 2
        )
        self._audit = UniqueKeyAudit(redis, keys)
        self._recall = MisfitRecall(redis, keys, options)
        self._run_bounds = RunBounds(redis, keys, options)
        self._forgetting = Forgetting(redis, keys)
        self.workers = 1
        self._is_janitor = False
        self._is_alarmed = False
        self._look_at = float("-inf")
        self._role_seen = b""
        self._role_seen_at = float("-inf")
        self._seen: LateWorkers | WholeQueue | None = None
        self._problem: ResponseError | None = None
        self._next_stream = 0
        self._tidy_at = self._audit_at = local_time() + options.beat * _BEATS_BETWEEN_TIDYING
        self._dropped: int | None = None
        # What went wrong last with each duty.
        self._told: dict[str, str] = {}

    def beat(self) -> bool:
        """Renew the lease, and look in the same step at what is to be done; False if Redis does not know the worker."""
        self._seen = self._problem = None
        try:
            if self._is_janitor:
                self._seen = self._look_at_all()
            elif self._is_alarmed or local_time() >= self._look_at:
                self._seen = self._look_at_late()
            else:
                return self._registrar.renew(self._lease.worker)
        except ResponseError as error:
            # Whatever is wrong with what it looks at, the lease is renewed.
            self._problem = error
            return self._registrar.renew(self._lease.worker)
        if not self._seen.is_registered:
            self._seen, self._is_janitor = None, False
        return self._seen is not None

    def take_turn(self) -> QueueState | None:
        """Do what is to be done with this beat; gives what was seen of the queue, where it was looked at.

        Raises:
            RedisError: Redis is away, or has refused what was looked at.
        """
        seen, problem = self._seen, self._problem
        self._seen = self._problem = None
        if problem is not None:
            raise problem
        state = None
        if isinstance(seen, LateWorkers):
            state, may_claim = self._watch_late(seen)
            seen = self._look_at_all() if may_claim else None
        if isinstance(seen, WholeQueue):
            self._is_janitor = seen.is_janitor
            state = self._tend(seen) if seen.is_janitor else state
        if not self._is_janitor:
            self._dropped = None  # what another one tells of
        return state

    def begin(self) -> None:
        """Note how many dead letters were dropped before this worker takes its first message."""
        self._dropped = self._count_dropped()

    def _look_at_late(self) -> LateWorkers:
        names, beat = self._keys, self._registrar.next_beat()
        late_before = beat - round(self._options.beat * 1000 * _LATE_BEATS)
        arguments: list[Value] = [self._lease.worker, beat, self._registrar.possible_beats]
        arguments += [late_before, _LATE_AT_ONCE, self._role_seen]
        answer = _WATCH.in_thread(self._redis, [names.workers, names.janitor], arguments)
        return self._noted(LateWorkers.of(answer))

    def _watch_late(self, seen: LateWorkers) -> tuple[QueueState, bool]:
        """What the janitor says, and whether this worker may try to take its role."""
        if self._role_seen not in (b"", seen.role) and self._registrar.is_step(
            seen.janitor_ms, self._role_seen_at, seen.at
        ):
            # What the janitor has said since the last look was said at no time in between.
            self._registrar.read_clock()
        self._role_seen, self._role_seen_at, self.workers = seen.role, seen.at, seen.workers
        beats = min(max(self.workers // _WORKERS_PER_BEAT, 1), _LONGEST_BEATS_BETWEEN_LOOKS)
        self._look_at = seen.at + self._options.beat * (beats - 0.5)
        has_fenced = self._watch(seen.beats, seen.at)
        may_claim = has_fenced or seen.is_free or seen.janitor == self._lease.worker
        state = QueueState(suspects=seen.suspects, misfits=seen.misfits, seconds=self._seconds_until_dead())
        return state, may_claim and not is_ward(self._lease.worker)

    def _watch(self, beats: dict[str, str], seen_at: float) -> bool:
        beats.pop(self._lease.worker, None)
        self._is_alarmed = bool(beats)
        now = local_time()
        has_fenced = False
        for worker, beat in self._detector.look(beats, seen_at):
            # Where many have died at once, this worker's own lease must not end over them: the others are next.
            if has_fenced and local_time() > now + self._options.beat / 2:
                break
            has_fenced |= self._reclaimer.take_over(worker, beat)
        return has_fenced

    def _seconds_until_dead(self) -> float:
        return max(self._detector.next_at - local_time(), 0.0)

    def _look_at_all(self) -> WholeQueue:
        if self._dropped is None:
            self._dropped = self._count_dropped()
        options, names = self._options, self._keys
        keys = [names.janitor, names.workers, *names.shared, *names.all_streams(self._queues)]
        beat = self._registrar.next_beat()
        arguments: list[Value] = [self._lease.worker, beat, self._registrar.possible_beats, self._group]
        arguments += [round(options.dead_letter_age * 1000), options.dead_letter_bytes]
        arguments += [self._next_stream if local_time() >= self._tidy_at else "", self._streams_at_once]
        answer = _TEND.in_thread(self._redis, keys, arguments)
        return self._noted(WholeQueue.of(answer, keys))

    def _noted(self, seen: Seen) -> Seen:
        """What was seen with a beat, which it answers."""
        if seen.is_registered:
            self._registrar.answered(seen.before)
        return seen

    @property
    def _streams_at_once(self) -> int:
        return max(_CONSUMERS_AT_ONCE // max(self.workers, 1), 1)

    def _tend(self, seen: WholeQueue) -> QueueState:
        self._registrar.hear_clock(seen.now_ms, seen.at)
        self.workers = len(seen.beats)
        workers = list(seen.beats)
        self._watch(seen.beats, seen.at)
        if self._dropped is not None and seen.dropped > self._dropped:
            logger.warning("%d dead letters were dropped: too old, too many or too large", seen.dropped - self._dropped)
        self._dropped = seen.dropped
        next_due = seen.next_due
        if next_due == 0:
            next_due = -1
            with self._attempt("move what is due"):
                next_due = self.move_due()
        if not seen.misfits:
            self._recall.forget()
        if seen.tidying is not None:
            self._tidy(seen, seen.tidying)
        if local_time() >= self._audit_at:
            self._audit_at = local_time() + self._options.beat * _BEATS_BETWEEN_AUDITS
            with self._attempt("forget workers that are gone"):
                self._forgetting.take_turn(workers)
        if self._run_bounds.are_due:
            with self._attempt("bound what is kept of ended runs"):
                self._run_bounds.apply()
        seconds = min(self._seconds_until_dead(), inf if next_due < 0 else next_due / 1000)
        return QueueState(suspects=seen.suspects, misfits=seen.misfits, seconds=seconds)

    def _count_dropped(self) -> int:
        counted = None
        with without_foreign_keys():
            counted = self._redis.get(self._keys.dropped)
        return whole_number(None if counted is None else text_of_name(counted), 0)

    def move_due(self) -> int:
        """Move what is due, for up to a beat; gives the milliseconds until the next is due, or -1."""
        until = local_time() + self._options.beat / 2
        names = self._keys
        cancelled = encode_failure(TaskCancelledError(_PLACEHOLDER))
        arguments: list[Value] = [_MOVED_AT_ONCE, _BYTES_AT_ONCE, round(self._options.beat * 1500), _UNREADABLE_MS]
        arguments += [self._options.dead_letter_limit, names.result_prefix, cancelled, _PLACEHOLDER]
        arguments += [self._result_ms, names.channel_suffix, names.name, names.queue_prefix]
        arguments.append(encode_failure(UnreadableTaskError()))
        while True:
            next_due = _MOVE.in_thread(self._redis, names.shared, arguments)[0]
            if next_due != 0 or local_time() > until:
                return next_due

    def _tidy(self, seen: WholeQueue, found: Tidying) -> None:
        now, beat = local_time(), self._options.beat
        self._tidy_at = now + beat * _BEATS_BETWEEN_TIDYING
        by_stream = {stream: queue for queue in self._queues for stream in self._keys.streams(queue)}
        orphans = [(consumer, by_stream[stream], stream) for stream, consumer in found.orphans]
        self._next_stream = (self._next_stream + self._streams_at_once) % len(by_stream)
        self._queues = list(found.queues) or self._queues
        with self._attempt("give back what dead workers had"):
            self._reclaimer.reclaim_orphans(orphans)
        if found.to_audit:
            with self._attempt("look at unique keys"):
                self._audit.take_turn(until=now + beat / 2)
        if seen.misfits:
            with self._attempt("recall what workers have left to others"):
                self._recall.take_turn(seen.now_ms, until=now + beat / 2)

    @contextmanager
    def _attempt(self, what: str) -> Generator[None]:
        """Do one of the janitor's duties. A key that holds something else keeps none of the others from being done."""
        try:
            self._registrar.keep(self._options.beat)
            yield
            self._told.pop(what, None)
        except ResponseError as error:
            if may_pass(error):
                raise
            if self._told.get(what) != reason(error):
                logger.error("Cannot %s: %s", what, reason(error))  # noqa: TRY400  # one line
            self._told[what] = reason(error)
