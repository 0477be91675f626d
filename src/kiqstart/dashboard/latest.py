"""What was read last, given at once to whoever looks, and read anew beside that."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


class Latest(Generic[Seen]):
    """Reads something that is slow, or may be, for pages that are not to wait for it.

    Whoever comes is given what was read last, and it is read anew if that is older than some seconds. Only the first
    one waits, and who comes after a while in which nobody has looked.

    Args:
        read: reads it; it is never called twice at a time.
        seconds: for how long it is not read anew; what is more than twice as old is shown to nobody.
        now: seconds of a clock that only goes forward.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Seen]], *, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._now = now
        self._until = float("-inf")
        self._seen: Seen | None = None
        self._reading: asyncio.Task[Seen] | None = None

    async def get(self) -> Seen:
        """What was read last; what `read` raises is raised to those who wait for it, and forgotten."""
        now = self._now()
        if self._seen is None or now > self._until + self._seconds:
            # Whoever goes away while it is read takes it from nobody else.
            return await asyncio.shield(self._reading or self._begin())
        if self._reading is None and now >= self._until:
            self._begin()
        return self._seen

    def _begin(self) -> "asyncio.Task[Seen]":
        self._reading = asyncio.ensure_future(self._look())
        # Perhaps nobody waits for it.
        self._reading.add_done_callback(_retrieve)
        return self._reading

    async def _look(self) -> Seen:
        try:
            self._seen = await self._read()
            self._until = self._now() + self._seconds
        except Exception:
            # What was read before may be wrong by now.
            self._seen = None
            raise
        else:
            return self._seen
        finally:
            self._reading = None


def _retrieve(task: "asyncio.Task[Seen]") -> None:
    if not task.cancelled():
        task.exception()
