"""Forgets queues that no worker takes any more, and what is kept of workers that are gone."""

from collections.abc import Collection, Sequence
from logging import getLogger
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import queue_names, raw_name, text_of_name
from kiqstart.broker.script import Script
from kiqstart.broker.worker_info import queues_of
from kiqstart.redis.commands import BlockingCommands

logger = getLogger(__name__)

_FORGET_QUEUE: Final = Script[list[bytes]]("forget_queue")
_FORGOTTEN_AT_ONCE: Final = 500


class Forgetting:
    """One of the janitor's duties.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: BlockingCommands, keys: QueueKeys) -> None:
        self._redis = redis
        self._keys = keys
        # Workers that were asked to end, and had ended when this was looked at last.
        self._ended: set[bytes] = set()

    def take_turn(self, workers: Sequence[str]) -> None:
        """Forget what nobody has any more, where these are the workers that live."""
        info = self._redis.hgetall(self._keys.worker_info)
        known = {text_of_name(name): value for name, value in info.items()}
        for gone in known.keys() - set(workers):
            self._redis.hdel(self._keys.worker_info, raw_name(gone))
        # A version that does not know it leaves it where it takes over from a dead worker.
        with without_foreign_keys():
            for name in self._redis.hkeys(self._keys.running):
                if text_of_name(name) not in workers:
                    self._redis.hdel(self._keys.running, name)
        draining = self._redis.smembers(self._keys.draining)
        ended = {name for name in draining if text_of_name(name) not in workers}
        # Whoever ends a lease looks here afterwards, so a name stays for one more look.
        for name in ended & self._ended:
            self._redis.srem(self._keys.draining, name)
        self._ended = ended
        untaken = self._redis.srandmember(self._keys.untaken, _FORGOTTEN_AT_ONCE)
        self._forget_empty(self._keys.untaken, queue_names(untaken))
        if set(workers) - known.keys():
            return  # of a version that does not say which queues it takes
        taken = {queue for name in workers for queue in queues_of(known[name])}
        taken_once = self._redis.smembers(self._keys.queues)
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
        forgotten = _FORGET_QUEUE.in_thread(self._redis, keys, [*queues])
        return [name.decode() for name in forgotten]
