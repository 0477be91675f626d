"""What a read says beside its messages: which tasks are marked as cancelled, and what is paused."""

import asyncio
from typing import Final, cast

from redis.exceptions import RedisError, ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.paused_names import PausedNames
from kiqstart.broker.redis_retry import is_foreign_type
from kiqstart.broker.redis_text import text_of_name
from kiqstart.redis.commands import ScriptClient

# What something that is paused adds to the number of keys that are there.
_PAUSED: Final = 2


class CancelMarks:
    """Which marks of cancelled tasks there were with the last read.

    Args:
        reader: the client of the reads that wait.
        paused: is told what is paused.
    """

    def __init__(self, reader: ScriptClient, keys: QueueKeys, paused: PausedNames) -> None:
        self._reader = reader
        self._keys = keys
        self._paused = paused
        self.count = 0
        self.known: frozenset[str] | None = None
        """Which they are; None where only their number is known."""

    def note(self, found: object) -> None:
        """Note the marks themselves, or how many there are."""
        self.known = frozenset(map(text_of_name, cast("list[bytes]", found))) if isinstance(found, list) else None
        self.count = cast("int", found) if self.known is None else len(self.known)

    def begin_look(self) -> "asyncio.Future[object]":
        """Whether there are marks (1), and anything is paused (2): Redis counts a key as often as it is named."""
        keys = (self._keys.cancelled, *[self._keys.paused] * _PAUSED)
        return asyncio.ensure_future(self._reader.execute_command("EXISTS", *keys))

    async def end_look(self, look: "asyncio.Future[object]") -> None:
        """Note whether there are marks, of which it is then not known which, and what is paused."""
        try:
            found = cast("int", await look)
            self.note(found % _PAUSED)
            paused: object = []
            if found >= _PAUSED:
                paused = await self._reader.execute_command("HKEYS", self._keys.paused)
            self._paused.note(cast("list[bytes]", paused))
        except (RedisError, OSError) as error:
            # What was read beside it is here all the same, and is looked for among the marks.
            self.note(1)
            if isinstance(error, ResponseError) and is_foreign_type(error):
                self._paused.note([])
