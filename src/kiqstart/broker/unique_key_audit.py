"""Frees unique keys whose tasks are nowhere any more: deleted by hand, or lost with a part of Redis' data.

What is noted of early acknowledgements of such tasks goes with them.
"""

from dataclasses import dataclass, field
from logging import getLogger
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import queue_names
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands, Value

logger = getLogger(__name__)

_AUDIT: Final = Script[list[bytes]]("audit_keys")
_FIND: Final = Script[list[bytes]]("find_holders")
_FREE: Final = Script[int]("free_keys")
_KEYS_AT_ONCE: Final = 100
_MESSAGES_AT_ONCE: Final = 500


@dataclass(kw_only=True)
class _Search:
    """A search through all messages for the holders of keys.

    Args:
        missing: key, task and place of each that was not where it was.
        places: streams and delayed messages that are still to be searched; the first from `start` on.
    """

    missing: dict[bytes, tuple[bytes, bytes]]
    places: list[str] = field(default_factory=list)
    start: bytes = b""


class UniqueKeyAudit:
    """Looks at some keys with each turn; for those whose task is not where it was, through all messages.

    A worker of an older version may have moved a task without saying where to. So a key is freed only where its task is
    not found in any place.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: BlockingCommands, keys: QueueKeys) -> None:
        self._redis = redis
        self._keys = keys
        # Among the keys, among their places, and among the early acknowledgements.
        self._cursors = (b"0", b"0", b"0")
        self._search: _Search | None = None

    def take_turn(self, *, until: float) -> None:
        """Go on with the audit by a page, and by more up to that local time."""
        if self._search is None:
            self._look_at_page()
        while self._search is not None:
            self._search_page(self._search)
            if local_time() >= until:
                break

    def _look_at_page(self) -> None:
        arguments: list[Value] = [*self._cursors, _KEYS_AT_ONCE]
        answer = _AUDIT.in_thread(self._redis, self._keys.shared, arguments)
        self._cursors, found = (answer[0], answer[1], answer[2]), answer[3:]
        missing = dict(zip(found[::3], zip(found[1::3], found[2::3], strict=True), strict=True))
        if missing:
            self._search = _Search(missing=missing, places=self._all_places(), start=b"")

    def _search_page(self, search: _Search) -> None:
        if not search.places:
            self._free(search)
            self._search = None
            return
        place = search.places[0]
        start = search.start or (b"0" if place == self._keys.delayed_messages else b"-")
        arguments: list[Value] = [start, _MESSAGES_AT_ONCE, *search.missing]
        answer = _FIND.in_thread(self._redis, [place, *self._keys.shared], arguments)
        search.start = answer[0]
        for unique in answer[1:]:
            search.missing.pop(unique, None)
        if not search.missing:
            self._search = None
        elif not search.start:
            del search.places[0]

    def _free(self, search: _Search) -> None:
        arguments: list[Value] = [
            value for unique, (task, place) in search.missing.items() for value in (unique, task, place)
        ]
        freed = _FREE.in_thread(self._redis, self._keys.shared, arguments)
        if freed:
            logger.warning("%d unique keys were held by tasks that are gone, and are free again", freed)

    def _all_places(self) -> list[str]:
        known = (self._redis.smembers(self._keys.queues), self._redis.smembers(self._keys.untaken))
        queues = sorted({name for some in known for name in queue_names(some)})
        places = [self._keys.delayed_messages, *self._keys.all_locations(queues)]
        # Twice: what is moved while it goes on may be where it was before.
        return [*places, *places]
