"""Looks through all queues for the messages of a task, some of each queue in turn, and not for ever."""

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from redis.exceptions import NoPermissionError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import every_queue
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import Entry

_FIND_ENTRIES: Final = Script[tuple[bytes, int, *tuple[tuple[bytes, list[bytes]], ...]]]("find_entries")
# Looked through in one step of Redis, in which it answers nobody else: two milliseconds at most.
_BYTES_AT_ONCE: Final = 256 * 1024
# Read at once where Redis cannot look by itself.
_ENTRIES_AT_ONCE: Final = 500
_NONE: Final = b"-"


class EntrySearch:
    """A search for the messages of one task.

    Args:
        task_id: whose.
        seconds: after which it gives up.

    Attributes:
        count: how many messages were looked through.
        is_complete: whether those were all.
    """

    def __init__(self, broker: StreamBroker, task_id: str, *, seconds: float) -> None:
        self._broker = broker
        self._redis = broker.connection.redis
        self._task_id = task_id
        self._needle = plain_in_json(task_id)
        self._until = local_time() + seconds
        self.count = 0
        self.is_complete = False

    async def entries(self) -> AsyncGenerator[tuple[str, str, bytes, Mapping[bytes, bytes]]]:
        """Those that are met, with queue, stream, id and fields; what workers have lies first in a stream.

        Raises:
            RedisError: Redis is away.
        """
        left = deque((queue, stream, _NONE) for queue, stream in await self._streams())
        while left and local_time() < self._until:
            queue, stream, after = left.popleft()
            entries, after = await self._page(stream, after)
            for entry, fields in entries:
                data = fields.get(b"data", b"")
                if (self._needle is None or self._needle in data) and self._broker.task_id_of(data) == self._task_id:
                    yield queue, stream, entry, fields
            if after:
                left.append((queue, stream, after))
        self.is_complete = not left

    async def _streams(self) -> list[tuple[str, str]]:
        """All that hold messages. What moves from one of a queue to another moves to one that comes later."""
        queues, keys = await every_queue(self._broker), self._broker.keys
        places = [(queue, stream) for queue in queues for stream in reversed(keys.locations(queue))]
        async with self._redis.pipeline(transaction=False) as pipe:
            for _, stream in places:
                pipe.xlen(stream)
            # What a stranger has put in place of one holds none.
            lengths = await pipe.execute(raise_on_error=False)
        return [place for place, length in zip(places, lengths, strict=True) if length != 0]

    async def _page(self, stream: str, after: bytes) -> tuple[list[Entry], bytes]:
        """Some of a stream's entries, and where to go on; b"" at its end."""
        if self._needle is None:
            return await self._whole_page(stream, after)
        found: list[tuple[bytes, list[bytes]]] = []
        next_after, count = b"", 0
        try:
            with without_foreign_keys():
                arguments = (after, _BYTES_AT_ONCE, self._needle)
                next_after, count, *found = await _FIND_ENTRIES(self._redis, [stream], arguments)
        except NoPermissionError:
            # A user who may run no scripts looks through all by himself.
            return await self._whole_page(stream, after)
        self.count += count
        entries = [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in found]
        return entries, next_after

    async def _whole_page(self, stream: str, after: bytes) -> tuple[list[Entry], bytes]:
        entries: list[Entry] = []
        with without_foreign_keys():
            entries = await self._redis.xrange(stream, min=after.decode(), max="+", count=_ENTRIES_AT_ONCE)
        self.count += len(entries)
        return entries, b"(" + entries[-1][0] if len(entries) == _ENTRIES_AT_ONCE else b""
