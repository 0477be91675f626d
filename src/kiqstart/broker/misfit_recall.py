"""Ends the wait of what was left to other workers, once no worker lives that may take it."""

from collections import defaultdict
from logging import getLogger
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.misfits import group_of
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import texts_of, whole_number
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands
from kiqstart.tasks.queue_names import queue_name_problem

logger = getLogger(__name__)

_RECALL: Final = Script[int]("recall")
_PAGE: Final = 500
# Workers say once in a lease what they may take.
_LEAST_LEASES: Final = 2


class MisfitRecall:
    """Gives back what has been left for the grace, if no worker has said in that time that it may take it.

    What workers say counts when it changes, by this process' own clock: Redis' clock may be set as one likes. A janitor
    that is new goes by Redis' time, so that the grace does not begin anew with it. It does once a pause ends.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: BlockingCommands, keys: QueueKeys, options: StreamOptions) -> None:
        self._redis = redis
        self._keys = keys
        self._grace = max(options.misfit_grace, options.lease * _LEAST_LEASES)
        self._next = "-"
        # What was said last of each group, and since when that, or nothing, is so.
        self._said: dict[str, tuple[int, float]] = {}

    def forget(self) -> None:
        """Nothing is left to other workers."""
        self._next = "-"
        self._said.clear()

    def take_turn(self, now_ms: int, *, until: float) -> None:
        """Look through the index.

        Args:
            now_ms: Redis' time.
            until: the local time at which this turn ends; the next one goes on from there.
        """
        said = self._redis.hgetall(self._keys.misfits_known)
        known = {group: whole_number(at, 0) for group, at in texts_of(said).items()}
        paused = self._paused()
        while True:
            page = self._redis.xrange(self._keys.misfit_index, min=self._next, max="+", count=_PAGE)
            over: defaultdict[str, list[str]] = defaultdict(list)
            for entry, fields in page:
                texts = texts_of(fields)
                queue, name, tried, held_by = (texts.get(field, "") for field in ("queue", "name", "tried", "held"))
                if paused.holds(self._keys.stream(queue), name, held_by):
                    group = group_of(queue, name, tried)
                    self._said[group] = (known.get(group, 0), local_time())
                elif self._is_over(texts, known, now_ms):
                    over[queue].append(entry.decode())
            for queue, entries in over.items():
                self._recall(queue, entries)
            self._next = f"({page[-1][0].decode()}" if len(page) == _PAGE else "-"
            if len(page) < _PAGE or local_time() > until:
                return

    def _paused(self) -> PausedNames:
        paused = PausedNames()
        with without_foreign_keys():
            paused.note(self._redis.hkeys(self._keys.paused))
        return paused

    def _is_over(self, fields: dict[str, str], known: dict[str, int], now_ms: int) -> bool:
        group = group_of(*(fields.get(name, "") for name in ("queue", "name", "tried")))
        since = fields.get("since", "")
        left_for = (now_ms - whole_number(since, 0)) / 1000
        said, now = known.get(group, 0), local_time()
        if group not in self._said:
            silent_for = min(max(left_for, 0.0), max((now_ms - said) / 1000, 0.0), self._grace)
            self._said[group] = (said, now - silent_for)
        elif self._said[group][0] != said:
            self._said[group] = (said, now)
        return not 0 <= left_for < self._grace and now - self._said[group][1] >= self._grace

    def _recall(self, queue: str, entries: list[str]) -> None:
        names = self._keys
        if queue_name_problem(queue) is not None:
            # A stranger's entry: nothing is left in a queue that cannot be.
            self._redis.xdel(names.misfit_index, *entries)
            return
        keys = [names.misfits(queue), names.returned(queue), *names.shared]
        count = _RECALL.in_thread(self._redis, keys, entries)
        if count:
            logger.warning(
                "No worker has been there for %g s that may take what others left: %d tasks", self._grace, count
            )
