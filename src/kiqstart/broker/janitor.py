"""The role that one worker of all has: it finds dead workers, moves what is due, and tidies up."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import local_time
from kiqstart.broker.failure_detector import FailureDetector
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease, is_ward, watch_span
from kiqstart.broker.misfit_recall import MisfitRecall
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.broker.redis_retry import may_pass, reason, without_foreign_keys
from kiqstart.broker.redis_text import queue_names, raw_name, text_of_name, whole_number
from kiqstart.broker.results import encode_failure
from kiqstart.broker.script import Script, Value
from kiqstart.broker.unique_key_audit import UniqueKeyAudit
from kiqstart.broker.worker_info import queues_of
from kiqstart.tasks.results.errors import TaskCancelledError

if TYPE_CHECKING:
    from redis import Redis

logger = getLogger(__name__)

_TEND: Final = Script("tend")
_MOVE: Final = Script("move")
_FORGET_QUEUE: Final = Script("forget_queue")

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
_FORGOTTEN_AT_ONCE: Final = 500
# What the janitor says is text that anybody may have written.
_MOST_WORKERS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """What the janitor has seen of the queue.

    Args:
        suspects: how many wait.
        misfits: how many messages were left to other workers.
        next_due: seconds until a delayed message is due; None where none is known.
    """

    suspects: int = 0
    misfits: int = 0
    next_due: float | None = None


class Janitor:
    """One worker's part in it: the janitor's, or that of one who looks whether there is one.

    The role belongs to a registered worker, so it ends with that one's lease. Each worker looks for others that are
    late with their beat, the less often the more workers there are; the janitor looks at all of them with each of its
    beats.

    Args:
        redis: a client that blocks.
        queues: those that this worker takes.
        result_ttl: seconds for which results are kept; None for ever.
        keep: keeps this worker's own lease between its duties.

    Attributes:
        workers: how many workers there are, as far as is known.
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
        reclaimer: Reclaimer,
        result_ttl: float | None,
        keep: Callable[[], None],
    ) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._group = group
        self._options = options
        self._lease = lease
        self._reclaimer = reclaimer
        self._keep = keep
        self._streams = _quarantine(keys, queues)
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        self._detector = FailureDetector(
            span=lambda worker: watch_span(worker, options.lease), longest_gap=options.beat * 2
        )
        self._audit = UniqueKeyAudit(redis, keys)
        self._recall = MisfitRecall(redis, keys, options)
        self.workers = 1
        self._is_janitor = False
        self._is_alarmed = False
        self._look_at = float("-inf")
        self._role_seen: bytes | None = None
        self._tidy_at = self._audit_at = local_time() + options.beat * _BEATS_BETWEEN_TIDYING
        self._dropped: int | None = None
        # What went wrong last with each duty.
        self._told: dict[str, str] = {}

    def take_turn(self, now_ms: int) -> QueueState | None:
        """Do what is to be done with this beat; gives what was seen of the queue, where it was looked at.

        Args:
            now_ms: Redis' time, as far as this process knows it.
        """
        now = local_time()
        if self._is_janitor:
            return self._tend()
        if now < self._look_at and not self._is_alarmed:
            return None
        state, may_claim = self._look(now, now_ms)
        if may_claim:
            state = self._tend() or state
        if not self._is_janitor:
            self._dropped = None  # what another one tells of
        return state

    def begin(self) -> None:
        """Note how many dead letters were dropped before this worker takes its first message."""
        self._dropped = self._count_dropped()

    def _look(self, now: float, now_ms: int) -> tuple[QueueState, bool]:
        """What the janitor says, and whether its role may be free."""
        role = None
        with without_foreign_keys():
            role = cast("bytes | None", self._redis.get(self._keys.janitor))
        name, self.workers, suspects, misfits = _parse_role(role)
        # One that has tended since the last look is registered.
        has_tended, self._role_seen = self._role_seen not in (None, role), role
        beats = min(max(self.workers // _WORKERS_PER_BEAT, 1), _LONGEST_BEATS_BETWEEN_LOOKS)
        self._look_at = now + self._options.beat * (beats - 0.5)
        late = cast(
            "list[tuple[bytes, float]]",
            self._redis.zrangebyscore(
                self._keys.workers,
                "-inf",
                now_ms - round(self._options.beat * 1000 * _LATE_BEATS),
                start=0,
                num=_LATE_AT_ONCE,
                withscores=True,
            ),
        )
        has_fenced = self._watch({text_of_name(worker): f"{beat:.0f}" for worker, beat in late})
        is_free = not name or (
            not has_tended and self._redis.zscore(self._keys.workers, cast("str", raw_name(name))) is None
        )
        may_claim = has_fenced or is_free or name == self._lease.worker
        return QueueState(suspects=suspects, misfits=misfits), may_claim and not is_ward(self._lease.worker)

    def _watch(self, beats: dict[str, str]) -> bool:
        beats.pop(self._lease.worker, None)
        self._is_alarmed = bool(beats)
        now = local_time()
        has_fenced = False
        for worker, beat in self._detector.look(beats, now):
            # Where many have died at once, this worker's own lease must not end over them: the others are next.
            if has_fenced and local_time() > now + self._options.beat / 2:
                break
            has_fenced |= self._reclaimer.take_over(worker, beat)
        return has_fenced

    def _tend(self) -> QueueState | None:
        options, names = self._options, self._keys
        if self._dropped is None:
            self._dropped = self._count_dropped()
        keys = [names.janitor, names.workers, *names.shared, *self._streams]
        age_ms = round(options.dead_letter_age * 1000)
        answer = cast(
            "list[object]",
            _TEND.in_thread(self._redis, keys, [self._lease.worker, self._group, age_ms, options.dead_letter_bytes]),
        )
        self._is_janitor = bool(answer[0])
        if not self._is_janitor:
            return None
        now_ms, next_due, dropped, suspects, misfits = cast("tuple[int, int, int, int, int]", tuple(answer[1:6]))
        flat = cast("list[bytes]", answer[6])
        self.workers = len(flat) // 2
        self._watch({text_of_name(name): beat.decode() for name, beat in _pairs(flat)})
        if dropped > self._dropped:
            logger.warning("%d dead letters were dropped: too old, too many or too large", dropped - self._dropped)
        self._dropped = dropped
        if next_due == 0:
            next_due = -1
            with self._attempt("move what is due"):
                next_due = self.move_due()
        if not misfits:
            self._recall.forget()
        self._tidy([text_of_name(name) for name, _ in _pairs(flat)], now_ms if misfits else None)
        due = None if next_due < 0 else next_due / 1000
        return QueueState(suspects=suspects, misfits=misfits, next_due=due)

    def _count_dropped(self) -> int:
        counted = None
        with without_foreign_keys():
            counted = cast("bytes | None", self._redis.get(self._keys.dropped))
        return whole_number(None if counted is None else text_of_name(counted), 0)

    def move_due(self) -> int:
        """Move what is due, for up to a beat; gives the milliseconds until the next is due, or -1."""
        until = local_time() + self._options.beat / 2
        names = self._keys
        cancelled = encode_failure(TaskCancelledError(_PLACEHOLDER))
        arguments: list[Value] = [_MOVED_AT_ONCE, _BYTES_AT_ONCE, round(self._options.beat * 1500), _UNREADABLE_MS]
        arguments += [self._options.dead_letter_limit, names.result_prefix, cancelled, _PLACEHOLDER]
        arguments += [self._result_ms, names.channel_suffix, names.name, names.queue_prefix]
        while True:
            next_due = cast("list[int]", _MOVE.in_thread(self._redis, names.shared, arguments))[0]
            if next_due != 0 or local_time() > until:
                return next_due

    def _tidy(self, workers: Sequence[str], misfits_at: int | None) -> None:
        now, beat = local_time(), self._options.beat
        if now >= self._tidy_at:
            self._tidy_at = now + beat * _BEATS_BETWEEN_TIDYING
            # Also those that it does not take itself: others go by what it says of suspects.
            with self._attempt("look at all queues"):
                queues = cast("set[bytes]", self._redis.smembers(self._keys.queues))
                self._streams = _quarantine(self._keys, queue_names(queues))
            with self._attempt("give back what dead workers had"):
                self._reclaimer.reclaim_orphans()
            with self._attempt("look at unique keys"):
                self._audit.take_turn(until=now + beat / 2)
            if misfits_at is not None:
                with self._attempt("recall what workers have left to others"):
                    self._recall.take_turn(misfits_at, until=now + beat / 2)
        if now >= self._audit_at:
            self._audit_at = now + beat * _BEATS_BETWEEN_AUDITS
            with self._attempt("forget workers that are gone"):
                self._forget_the_gone(workers)

    @contextmanager
    def _attempt(self, what: str) -> Generator[None]:
        """Do one of the janitor's duties. A key that holds something else keeps none of the others from being done."""
        try:
            self._keep()
            yield
            self._told.pop(what, None)
        except ResponseError as error:
            if may_pass(error):
                raise
            if self._told.get(what) != reason(error):
                logger.error("Cannot %s: %s", what, reason(error))  # noqa: TRY400  # one line
            self._told[what] = reason(error)

    def _forget_the_gone(self, workers: Sequence[str]) -> None:
        """Forget queues that no worker takes any more, and what is kept of workers that are gone."""
        info = cast("dict[bytes, bytes]", self._redis.hgetall(self._keys.worker_info))
        known = {text_of_name(name): value for name, value in info.items()}
        for gone in known.keys() - set(workers):
            self._redis.hdel(self._keys.worker_info, cast("str", raw_name(gone)))
        for name in cast("set[bytes]", self._redis.smembers(self._keys.draining)):
            if text_of_name(name) not in workers:
                self._redis.srem(self._keys.draining, name)
        untaken = cast("list[bytes]", self._redis.srandmember(self._keys.untaken, _FORGOTTEN_AT_ONCE))
        self._forget_empty(self._keys.untaken, queue_names(untaken))
        if set(workers) - known.keys():
            return  # of a version that does not say which queues it takes
        taken = {queue for name in workers for queue in queues_of(known[name])}
        taken_once = cast("set[bytes]", self._redis.smembers(self._keys.queues))
        for name in taken_once - {queue.encode() for queue in queue_names(taken_once)}:
            self._redis.srem(self._keys.queues, name)
        queues = set(queue_names(taken_once))
        for queue in self._forget_empty(self._keys.queues, queues - taken):
            logger.info("Queue %s is empty, and no worker takes it any more: it is forgotten", queue)

    def _forget_empty(self, known_by: str, queues: Collection[str]) -> list[str]:
        """Forget those of some queues that are empty, and say which."""
        if not queues:
            return []
        keys = [known_by, *self._keys.all_locations(queues)]
        forgotten = cast("list[bytes]", _FORGET_QUEUE.in_thread(self._redis, keys, [*queues]))
        return [name.decode() for name in forgotten]


def _quarantine(keys: QueueKeys, queues: Sequence[str]) -> list[str]:
    return [stream for queue in queues for stream in keys.quarantine(queue)]


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Names and values that Redis gives in turn."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def _parse_role(value: bytes | None) -> tuple[str, int, int, int]:
    """The janitor's name, how many workers there are, how many suspects wait, and how many messages were left."""
    name, workers, suspects, _, misfits, *_ = [*text_of_name(value or b"").split("|"), "", "", "", "", ""]
    return name, min(whole_number(workers, 0), _MOST_WORKERS), whole_number(suspects, 0), whole_number(misfits, 0)
