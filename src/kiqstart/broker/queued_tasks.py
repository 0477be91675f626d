"""Which tasks' messages are in the queues, in the memory of a process that asks often.

A look reads what was added since the last one. A message that is met there is looked for in Redis, which alone knows
whether it still is: what has ended is forgotten when it is first in its queue, or when there is much of it. A queue
that begins with what was not seen before, such as one of older data with which Redis came back, is read anew. It costs
those who send and work nothing.
"""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from kiqstart.broker.known_queues import every_queue
from kiqstart.broker.run_pages import read_blocks, read_pages_onward
from kiqstart.clock import local_time
from kiqstart.redis.commands import Entry, answer_or

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker

_MOST: Final = 100_000
_STREAMS_AT_ONCE: Final = 200
_ENTRIES_AT_ONCE: Final = 500
_SECONDS_TO_LOOK: Final = 5.0
# Messages that have ended, beside twice as many as there are, before a queue is read anew.
_MOST_ENDED: Final = 1000


class QueuedTasks:
    """The tasks of all messages in a broker's queues, but for delayed ones; for one event loop.

    Args:
        most: messages; of more, it knows nothing.
    """

    def __init__(self, broker: "StreamBroker", *, most: int = _MOST) -> None:
        self._broker = broker
        self._most = most
        self._streams: dict[str, dict[bytes, str | None]] = {}
        self._looking = asyncio.Lock()

    async def among(self, task_ids: AbstractSet[str]) -> set[str] | None:
        """Those of several tasks that wait or run; None where there are more messages than it may know.

        As far as five seconds of reading show; the next look goes on with it.

        Raises:
            RedisError: Redis is away.
        """
        async with self._looking:
            if not await self._refresh():
                self._streams.clear()
                return None
            found: set[str] = set()
            for stream, tasks in self._streams.items():
                if not task_ids.isdisjoint(tasks.values()):
                    ids = [entry for entry, task_id in tasks.items() if task_id in task_ids]
                    found |= task_ids & await self._still_in(stream, ids)
            return found

    async def _refresh(self) -> bool:
        """Read what is new; False where there is more than it may know."""
        streams = self._broker.keys.all_locations(await every_queue(self._broker))
        self._streams = {stream: self._streams.get(stream, {}) for stream in streams}
        count, changed = 0, list[str]()
        for first in range(0, len(streams), _STREAMS_AT_ONCE):
            for stream, length, is_changed in await self._look_at(streams[first : first + _STREAMS_AT_ONCE]):
                count += length
                changed += [stream] if is_changed else []
        if count > self._most:
            return False
        until = local_time() + _SECONDS_TO_LOOK
        for stream in changed:
            await self._read_on(stream, until)
        return True

    async def _look_at(self, streams: Sequence[str]) -> list[tuple[str, int, bool]]:
        """How many messages each stream has, and whether there is one that was not seen; forgets what has ended."""
        async with self._broker.connection.redis.pipeline(transaction=False) as pipe:
            for stream in streams:
                pipe.xlen(stream)
                pipe.xrange(stream, min="-", count=1)
                pipe.xrange(stream, min=_after(self._streams[stream]), count=1)
            answers = await pipe.execute(raise_on_error=False)
        looks: list[tuple[str, int, bool]] = []
        for place, stream in enumerate(streams):
            length, first, new = answers[3 * place : 3 * place + 3]
            count = answer_or(length, 0)
            is_known = _drop_ended(self._streams[stream], count, answer_or(first, list[Entry]()))
            if not is_known:
                self._streams[stream] = {}
            looks.append((stream, count, bool(not is_known or answer_or(new, list[Entry]()))))
        return looks

    async def _read_on(self, stream: str, until: float) -> None:
        tasks, redis = self._streams[stream], self._broker.connection.redis
        async with aclosing(read_pages_onward(redis, stream, _after(tasks), most=_ENTRIES_AT_ONCE)) as pages:
            async for page in pages:
                tasks |= {entry: self._broker.task_id_of(fields.get(b"data", b"")) for entry, fields in page}
                if local_time() >= until:
                    return

    async def _still_in(self, stream: str, ids: Sequence[bytes]) -> set[str | None]:
        """The tasks of those messages that are there still."""
        found: set[str | None] = set()
        for first in range(0, len(ids), _ENTRIES_AT_ONCE):
            entries = await read_blocks(self._broker.connection.redis, stream, ids[first : first + _ENTRIES_AT_ONCE])
            found |= {self._broker.task_id_of(fields.get(b"data", b"")) for _, fields in entries}
        return found


def _after(tasks: dict[bytes, str | None]) -> str:
    newest = next(reversed(tasks), None)
    return "-" if newest is None else f"({newest.decode()}"


def _drop_ended(tasks: dict[bytes, str | None], length: int, first: Sequence[Entry]) -> bool:
    """Forget what came before a stream's first message; False where the stream is to be read anew."""
    if first and tasks and first[0][0] not in tasks:
        return False
    for entry in list(tasks):
        if first and entry == first[0][0]:
            break
        del tasks[entry]
    return len(tasks) <= 2 * length + _MOST_ENDED
