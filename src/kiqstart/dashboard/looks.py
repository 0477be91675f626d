"""What was read in the last second, shared by all who look."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar, cast

Seen = TypeVar("Seen")

SECONDS: Final = 1.0
"""For how long what was read is shown to others."""
_MOST_KEPT: Final = 64


class Looks:
    """Reads each thing once for all who ask for it at about the same time.

    Args:
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[object]]] = OrderedDict()

    async def share(self, name: Hashable, read: Callable[[], Awaitable[Seen]], *, seconds: float = SECONDS) -> Seen:
        """What `read` gives, or has given to somebody within so many seconds."""
        self._drop_old()
        kept = self._kept.get(name)
        if kept is None:

            async def look() -> object:
                return await read()

            kept = (self._now() + seconds, asyncio.ensure_future(look()))
            self._kept[name] = kept
            self._kept.move_to_end(name)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        # Whoever goes away while it is read takes it from nobody else.
        return cast("Seen", await asyncio.shield(kept[1]))

    def forget(self) -> None:
        """Let everything be read anew: something was changed."""
        self._kept.clear()

    def _drop_old(self) -> None:
        # All of them: what was searched for once is as large as what a page shows.
        for name in [name for name, kept in self._kept.items() if not self._is_fresh(*kept)]:
            del self._kept[name]

    def _is_fresh(self, until: float, task: "asyncio.Task[object]") -> bool:
        if not task.done():
            return True
        return not task.cancelled() and task.exception() is None and self._now() < until
