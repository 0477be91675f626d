"""How Redis knows a worker: its registration, its beats, and its end."""

import json
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

from redis.exceptions import OutOfMemoryError

from kiqstart.broker.delivery import local_time
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import text_of_name
from kiqstart.broker.script import Script, Value
from kiqstart.tasks.errors import WiringError

if TYPE_CHECKING:
    from redis import Redis

_REGISTER: Final = Script("register")
_LEAVE: Final = Script("leave")
_BEAT: Final = Script("beat")
# What all versions that share a queue have to agree on; raised by one that writes what this one cannot read.
LAYOUT: Final = 1


class Registrar:
    """Registers one worker process, under one name after the other.

    Args:
        redis: a client that blocks.
        group: the consumer group.
        queues: those that it takes.
    """

    def __init__(self, redis: object, keys: QueueKeys, *, group: str, queues: Sequence[str], lease: Lease) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._group = group
        self._queues = list(queues)
        self._lease = lease
        self._offset_ms = 0
        self._last_beat = 0
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
        info = {"queues": self._queues, "host": socket.gethostname(), "pid": os.getpid()}
        arguments: list[Value] = [self._group, worker, uuid4().hex, json.dumps(info), LAYOUT, *self._queues]
        answer = _REGISTER.in_thread(self._redis, [*keys, *names.all_streams(self._queues)], arguments)
        outcome, raw, now_ms = cast("tuple[bytes, bytes, int]", tuple(cast("list[object]", answer)))
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
        self._last_beat = now_ms
        self._renewed_at = began_at
        self._lease.registered(found, began_at)

    def renew(self, worker: str) -> bool:
        """Beat once; False where Redis does not know the name any more."""
        self._renewed_at = local_time()
        beat = self.now_ms()
        # Redis answers whether it has changed.
        self._last_beat = beat if beat != self._last_beat else beat + 1
        try:
            return bool(self._redis.zadd(self._keys.workers, {worker: self._last_beat}, xx=True, ch=True))
        except OutOfMemoryError:
            return bool(_BEAT.in_thread(self._redis, [self._keys.workers], [worker, self._last_beat]))

    def keep(self, seconds: float) -> None:
        """Beat once more where the last beat is that long ago; in the lease's thread, between the duties of a beat.

        They are many commands, which may take longer than the lease on a slow link. A lease that has lapsed stays so.

        Raises:
            RedisError: Redis is away.
        """
        began_at = local_time()
        is_due = self._lease.is_trusted and began_at - self._renewed_at >= seconds
        if is_due and self.renew(self._lease.worker):
            self._lease.renewed(began_at)

    def epoch(self) -> str:
        """The epoch of the data that Redis has now; '' for none."""
        found: bytes | None = None
        with without_foreign_keys():
            found = cast("bytes | None", self._redis.get(self._keys.epoch))
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

    def read_clock(self) -> None:
        """Learn Redis' time anew."""
        seconds, microseconds = self._redis.time()
        self._set_clock(seconds * 1000 + microseconds // 1000)

    def _set_clock(self, now_ms: int) -> None:
        self._offset_ms = now_ms - round(local_time() * 1000)
