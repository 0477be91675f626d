"""Messages that a worker has left to others, since it does not know their task or does not take their arguments."""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import raw_name, texts_of
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands

_SAY_KNOWN: Final = Script[int]("say_known")
_PAGE: Final = 500
# How many that this worker may take are noted at once; more are found when it has taken these.
_MOST_FOUND: Final = 1000
_SECONDS_BETWEEN_ROUNDS: Final = 60.0
_SECONDS_OF_A_LOOK: Final = 0.2
# For so long after it has found some, more are expected soon.
_SECONDS_EXPECTED: Final = 30.0


def group_of(queue: str, name: str, tried: str) -> str:
    """What those messages have in common that the same workers may take.

    Args:
        queue: their queue.
        name: their task's.
        tried: the shapes of that task which do not take their arguments, as `call_shape` gives them.
    """
    return f"{queue}\n{name}\n{tried}"


class Misfits:
    """Finds what others have left and this worker may take, and says that it may.

    A worker may take a message whose task it has, unless its function is of a shape that was tried. Each entry of the
    index is looked at once, and again in the next round, a minute later. The lease's thread looks; the event loop
    takes what was found when it has room. A worker that has none says so all the same: it will.

    Args:
        redis: a client that blocks.
        queues: those that this worker takes.
        shape_of: gives the shape of a task's function, None for a task that this worker does not have.
        paused: what this worker knows of what is paused: it stays where it is.
    """

    def __init__(
        self,
        redis: BlockingCommands,
        keys: QueueKeys,
        *,
        queues: Collection[str],
        shape_of: Callable[[str], str | None],
        paused: PausedNames,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._queues = frozenset(queues)
        self._shape_of = shape_of
        self._paused = paused
        self._paused_before = paused.fields
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}
        # Groups of which there were some in this round, and in the one before.
        self._groups: set[str] = set()
        self._groups_before: set[str] = set()
        self._next = "-"
        self._round_began = float("-inf")
        self._has_more = False
        self._found_at = float("-inf")

    @property
    def are_there(self) -> bool:
        """Whether there is something that this worker may take."""
        return bool(self._found)

    @property
    def are_expected(self) -> bool:
        """Whether there may soon be more."""
        return local_time() - self._found_at < _SECONDS_EXPECTED

    def look(self) -> None:
        """Look for more, and say which groups this worker may take."""
        now = local_time()
        self._look_at_paused()
        if now - self._round_began > _SECONDS_BETWEEN_ROUNDS or (self._has_more and not self._found):
            self._round_began, self._next, self._has_more = now, "-", False
            self._groups_before, self._groups = self._groups, set()
        while True:
            page = self._redis.xrange(self._keys.misfit_index, min=self._next, max="+", count=_PAGE)
            for entry, fields in page:
                self._consider(entry.decode(), texts_of(fields))
            if page:
                self._next = f"({page[-1][0].decode()}"
            if len(page) < _PAGE or local_time() - now > _SECONDS_OF_A_LOOK:
                break
        if groups := self._groups | self._groups_before:
            _SAY_KNOWN.in_thread(self._redis, [self._keys.misfits_known], [raw_name(group) for group in sorted(groups)])

    def take(self, count: int) -> tuple[str, list[str]]:
        """A queue, and entries of it that this worker may take; others may have them by now."""
        with self._lock:
            queue = next(iter(self._found.values()), "")
            entries = [entry for entry, of_queue in self._found.items() if of_queue == queue][:count]
            for entry in entries:
                del self._found[entry]
        return queue, entries

    def put_back(self, queue: str, entries: Sequence[str]) -> None:
        """It is not known whether they could be taken."""
        with self._lock:
            self._found |= dict.fromkeys(entries, queue)

    def _look_at_paused(self) -> None:
        found: list[bytes] = []
        with without_foreign_keys():
            found = self._redis.hkeys(self._keys.paused)
        self._paused.note(found)
        if self._paused.fields == self._paused_before:
            return
        # All is considered anew.
        self._paused_before = self._paused.fields
        self._round_began = float("-inf")
        with self._lock:
            self._found.clear()

    def _consider(self, entry: str, fields: dict[str, str]) -> None:
        queue, name, tried = (fields.get(field, "") for field in ("queue", "name", "tried"))
        shape = self._shape_of(name) if queue in self._queues else None
        if shape is None or shape in tried.split():
            return
        self._groups.add(group_of(queue, name, tried))
        if self._paused.holds(self._keys.stream(queue), name, fields.get("held", "")):
            return
        self._found_at = local_time()
        with self._lock:
            if len(self._found) < _MOST_FOUND:
                self._found[entry] = queue
            else:
                self._has_more = True
