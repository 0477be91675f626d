"""Whether an event loop still turns, as another thread sees it."""

import asyncio

from kiqstart.clock import local_time


class LoopWatch:
    """Asks an event loop for a sign of life, from a thread of its own.

    Args:
        loop: is watched.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked_at: float | None = None
        self._largest = 0.0

    def ask(self) -> float:
        """Ask, unless the loop still owes an answer; gives the seconds for which it has owed one."""
        asked_at = self._asked_at
        if asked_at is not None:
            return local_time() - asked_at
        if not self._loop.is_closed():
            self._asked_at = local_time()
            self._loop.call_soon_threadsafe(self._answer)
        return 0.0

    def take_lag(self) -> float:
        """The longest that an answer took since this was asked last, in seconds; one that is owed counts."""
        largest, self._largest = self._largest, 0.0
        asked_at = self._asked_at
        return largest if asked_at is None else max(largest, local_time() - asked_at)

    def _answer(self) -> None:
        if self._asked_at is not None:
            self._largest = max(self._largest, local_time() - self._asked_at)
        self._asked_at = None
