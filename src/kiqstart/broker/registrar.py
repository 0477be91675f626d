"""How Redis knows a worker: its registration, its beats, and its end."""

import json
import os
import socket
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from redis.exceptions import OutOfMemoryError

from kiqstart.broker.beats import Beats
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import beat_of, text_of_name
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands, Value, milliseconds_of
from kiqstart.tasks.errors import WiringError

_REGISTER: Final = Script[tuple[bytes, bytes, int]]("register")
_LEAVE: Final = Script[int]("leave")
_BEAT: Final = Script[bytes | None]("beat")
_NOTE_OLDER_DATA: Final = Script[int]("note_older_data")
# For which a name is among those that registered, however many they are.
_SECONDS_OF_A_NAME: Final = 3600.0
# By how much what is known of Redis' clock may be wrong; more means that it was set.
_MS_OF_A_STEP: Final = 1000
# What all versions that share a queue have to agree on; raised by one that writes what this one cannot read.
LAYOUT: Final = 1


class Registrar:
    """Registers one worker process, under one name after the other.

    Args:
        redis: a client that blocks.
        group: the consumer group.
        queues: those that it takes.
        slots: how many tasks it runs at once; 0 where that is not known.
    """

    def __init__(
        self, redis: BlockingCommands, keys: QueueKeys, *, group: str, queues: Sequence[str], lease: Lease, slots: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._queues = list(queues)
        self._lease = lease
        self._slots = slots
        self._offset_ms = 0
        self._beats = Beats()
        self._beat_before_loss: int | None = None
        self._renewed_at = float("-inf")

    def register(self, worker: str) -> None:
        """Make a name known, with the queue's streams and groups, and trust the lease from now on.

        Raises:
            WiringError: the queue belongs to another group, or was left by a newer version.
            RedisError: Redis is away, or a key of the queue holds something else.
        """
        began_at = local_time()
        names = self._keys
        keys = [names.workers, names.epoch, names.queues, names.draining, names.worker_info, names.layout, names.group]
        keys += names.shared
        info = {"queues": self._queues, "host": socket.gethostname(), "pid": os.getpid(), "slots": self._slots}
        arguments: list[Value] = [self._group, worker, uuid4().hex, json.dumps(info), LAYOUT, *self._queues]
        streams = names.all_streams(self._queues)
        outcome, raw, now_ms = _REGISTER.in_thread(self._redis, [*keys, *streams], arguments)
        found = text_of_name(raw)
        if outcome == b"layout":
            raise WiringError(
                f"the queue {names.name!r} is that of a newer kiqstart (its layout is {found}, this one's is "
                f"{LAYOUT}): update this worker"
            )
        if outcome == b"type":
            raise WiringError(f"a key of the queue is something else: {found}; delete it, or set another queue_name")
        if outcome == b"group":
            raise WiringError(
                f"workers of the group {found!r} take the queue {names.name!r}, and tasks would run once for "
                f"each group: set consumer_group_name={found!r}, or end those workers first"
            )
        self._set_clock(now_ms)
        self._beats.begin(now_ms)
        self._renewed_at = began_at
        self._lease.registered(found, began_at)

    def renew(self, worker: str) -> bool:
        """Beat once; False where Redis does not know the name any more."""
        if not self._beats.is_certain:
            return self._renew_by_script(worker, self.next_beat())
        last, beat = self._beats.last, self.next_beat()
        # Adding gives the sum, and so says what was there before.
        step = beat - last
        try:
            found = self._redis.zadd(self._keys.workers, {worker: step}, xx=True, incr=True)
        except OutOfMemoryError:
            return self._renew_by_script(worker, beat)
        if found is not None:
            self.answered(int(found) - step, beat=int(found))
        return found is not None

    def _renew_by_script(self, worker: str, beat: int) -> bool:
        before = _BEAT.in_thread(self._redis, [self._keys.workers], [worker, beat, self.possible_beats])
        if before is not None:
            self.answered(beat_of(before))
        return before is not None

    @property
    def last_beat(self) -> int:
        """The last one that Redis has answered."""
        return self._beats.last

    def next_beat(self) -> int:
        """What a beat says that is sent now: Redis' time in milliseconds, or more where the last one said that."""
        self._renewed_at = local_time()
        return self._beats.next(self.now_ms())

    @property
    def possible_beats(self) -> str:
        """Those that Redis may have of this worker, for its scripts."""
        return " ".join(map(str, self._beats.possible))

    def answered(self, before: int, *, beat: int | None = None) -> None:
        """Redis has answered the last beat: which one it had before, and which it has now if that is another one."""
        last = self._beats.last
        if self._beats.answered(before, beat=beat):
            self._beat_before_loss = last

    @property
    def beat_before_loss(self) -> int | None:
        """The last one answered before Redis came back with older data; None once this worker has seen to that."""
        return self._beat_before_loss

    def note_older_data(self, last_beat: int) -> int:
        """Note who is registered in older data with which Redis has come back, for those who end their leases.

        Gives when the first worker has noted these data: Redis' time in milliseconds, which tells them from others.

        Args:
            last_beat: the last one answered before it came back. Whoever has noted it since has done so later; what was
                noted earlier is of older data with which Redis had come back before.
        """
        return _NOTE_OLDER_DATA.in_thread(self._redis, [self._keys.workers], [last_beat])

    def has_seen_to_older_data(self) -> None:
        """What Redis knows of this worker is right again."""
        with without_foreign_keys():
            self._redis.hdel(self._keys.restored, self._lease.worker)
        self._beat_before_loss = None

    def was_lost_with_data(self) -> bool:
        """Whether Redis does not know this worker since it has lost its data, or has come back with older ones.

        Else others have ended its lease, and have what it runs. The names of those that registered are kept for longer
        than they live, but not for ever.
        """
        if self.epoch() != self._lease.epoch:
            return True
        found: object = True
        with without_foreign_keys():
            found = self._redis.zscore(self._keys.registered, self._lease.worker)
        return found is None and local_time() - self._lease.renewed_at < _SECONDS_OF_A_NAME

    def keep(self, seconds: float) -> None:
        """Beat once more where the last beat is that long ago; in the lease's thread, between the duties of a beat.

        They are many commands, which may take longer than the lease on a slow link. A lease that has lapsed stays so.
        """
        began_at = local_time()
        is_due = self._lease.is_trusted and began_at - self._renewed_at >= seconds
        if is_due and self.renew(self._lease.worker):
            self._lease.renewed(began_at)

    def epoch(self) -> str:
        """The epoch of the data that Redis has now; '' for none."""
        found: bytes | None = None
        with without_foreign_keys():
            found = self._redis.get(self._keys.epoch)
        return text_of_name(found or b"")

    def drain(self, worker: str) -> None:
        """Say that a worker was asked to end: should it be killed meanwhile, that says nothing against its tasks."""
        self._redis.sadd(self._keys.draining, worker)

    def leave(self, worker: str) -> None:
        """End the lease of a worker that has nothing left."""
        names = self._keys
        keys = [names.workers, names.janitor, names.draining, names.worker_info, *names.all_streams(self._queues)]
        _LEAVE.in_thread(self._redis, keys, [self._group, worker])

    def now_ms(self) -> int:
        """Redis' time, as it was learned when its clock was read last."""
        return self._offset_ms + round(local_time() * 1000)

    def to_redis_ms(self, time: float) -> int:
        """Redis' time at a `local_time`."""
        return self._offset_ms + round(time * 1000)

    def read_clock(self) -> None:
        """Learn Redis' time anew."""
        self._set_clock(milliseconds_of(self._redis.time()))

    def hear_clock(self, now_ms: int, at: float) -> None:
        """An answer that came at a `local_time` has Redis' time: learn it anew where Redis' clock was set meanwhile."""
        if self.is_step(now_ms, at, at):
            self._offset_ms = now_ms - round(at * 1000)

    def is_step(self, now_ms: int, since: float, until: float) -> bool:
        """Whether Redis' clock was set: it has said a time that it should not have had between two `local_time`s."""
        earliest, latest = self.to_redis_ms(since) - _MS_OF_A_STEP, self.to_redis_ms(until) + _MS_OF_A_STEP
        return not earliest <= now_ms <= latest

    def _set_clock(self, now_ms: int) -> None:
        self._offset_ms = now_ms - round(local_time() * 1000)
