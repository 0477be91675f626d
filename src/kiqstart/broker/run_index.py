"""The text of the kept runs in the memory of a process that looks at them often: a search there takes milliseconds.

It costs those who write runs nothing, and Redis no more than each run once: an index that is asked reads what was added
since. What is trimmed in Redis is found here and not there, and so is no run any more. Of each stream it has the newest
blocks without a gap, from some block on to the last one; what is older, since the index is being filled or is full, is
looked for in Redis. A stream that was emptied, or has gone on far since the last look, is begun anew.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, suppress
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.message_view import as_text
from kiqstart.broker.redis_retry import ANY_REDIS_ERROR, without_foreign_keys
from kiqstart.broker.run_decoding import runs_of
from kiqstart.broker.run_names import NamedRun, names_of
from kiqstart.broker.run_needles import Needles
from kiqstart.broker.run_pages import BYTES_AT_ONCE, MOST_AT_ONCE, read_blocks, read_pages, read_pages_with
from kiqstart.broker.run_text import Block, StreamText, searchable
from kiqstart.redis.commands import AsyncCommands, Entry
from kiqstart.tasks.sealing.secrets import ENCRYPTED, NO_SECRETS, Secrets

MOST_BYTES: Final = 128 * 1024 * 1024
"""Of the texts and names of a stream's runs."""
_BLOCKS_AT_ONCE: Final = 50
# Pages of new blocks that a look waits for; with more, it is as quick to begin anew.
_MOST_PAGES_BEHIND: Final = 10
# Blocks; others wait meanwhile.
_MOST_DECRYPTED_AT_ONCE: Final = 100
# Segments that are looked through before others have their turn: some milliseconds.
_SEGMENTS_AT_ONCE: Final = 16


class RunIndex:
    """An index of all runs that are kept of a queue; for one event loop.

    Args:
        secrets: decrypts what is encrypted, so that it is found by its words; what was decrypted stays in memory.
        most_bytes: of the texts and names of a stream's; the rest is left in Redis.
    """

    def __init__(self, keys: QueueKeys, secrets: Secrets = NO_SECRETS, *, most_bytes: int = MOST_BYTES) -> None:
        self._secrets = secrets
        self._most_at_once = _MOST_DECRYPTED_AT_ONCE if secrets.can_decrypt else MOST_AT_ONCE
        self._texts = {stream: StreamText() for stream in (keys.failed_runs, keys.runs)}
        self._most_bytes = most_bytes
        self._catching_up = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None

    @property
    def is_filled(self) -> bool:
        """Whether it has all that there was at the last look, or as much as it may have."""
        return self._filling is not None and self._filling.done()

    def begin(self, redis: AsyncCommands) -> None:
        """Fill it from now on, if it is not being filled."""
        if any(self._has_room(text) for text in self._texts.values()) and (self._filling is None or self.is_filled):
            self._filling = asyncio.create_task(self._fill(redis))

    async def filled(self) -> None:
        """Wait until it is filled, as far as Redis answers: whoever needs all runs would only read them twice."""
        if self._filling is not None:
            await asyncio.wait([self._filling])

    async def refresh(self, redis: AsyncCommands) -> None:
        """Take what was added since the last look.

        Raises:
            RedisError: Redis is away.
        """
        async with self._catching_up:
            for stream, text in self._texts.items():
                if not await self._catch_up(redis, stream, text):
                    self._texts[stream] = StreamText()
        self.begin(redis)

    async def pages(self, redis: AsyncCommands, stream: str, needles: Needles) -> AsyncGenerator[list[Entry]]:
        """The blocks that may hold what is looked for, newest first; some, if there is any text.

        Raises:
            RedisError: Redis is away.
        """
        choices, before = needles.in_searchable, self.before_all(stream)
        for place, segment in enumerate(reversed(list(self._texts[stream].segments))):
            found = segment.holding(choices)
            for first in range(0, len(found), _BLOCKS_AT_ONCE):
                yield await read_blocks(redis, stream, found[first : first + _BLOCKS_AT_ONCE])
            await _let_others_work(place)
        if before:
            async with aclosing(read_pages_with(redis, stream, needles.exact, before)) as pages:
                async for page in pages:
                    yield page

    async def runs(
        self, redis: AsyncCommands, stream: str, among: AbstractSet[str] | None = None
    ) -> AsyncGenerator[Sequence[NamedRun]]:
        """Those of which it has the names, newest first; what is older begins `before_all`.

        Args:
            redis: an async client.
            stream: whose.
            among: the ids of the tasks whose runs are asked for; of all without it.

        Raises:
            RedisError: Redis is away.
        """
        segments, oldest = list(self._texts[stream].segments), list[Entry]()
        with without_foreign_keys():
            oldest = await redis.xrange(stream, count=1)
        for place, segment in enumerate(reversed(segments)):
            if oldest:
                first = oldest[0][0]
                yield segment.runs(first) if among is None else segment.runs_among(first, among)
            await _let_others_work(place)

    def before_all(self, stream: str) -> str:
        """Where what it does not have begins; '' where it has all."""
        text = self._texts[stream]
        return "" if text.is_complete else _before(text.oldest)

    async def close(self) -> None:
        """Fill it no more."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait([self._filling])

    async def _catch_up(self, redis: AsyncCommands, stream: str, text: StreamText) -> bool:
        """Append what is new; False where that is not what comes next, or too much."""
        for _ in range(_MOST_PAGES_BEHIND):
            if text.newest is None:
                return True
            count = max(min(BYTES_AT_ONCE // text.mean_size, self._most_at_once), 1) + 1
            page: list[Entry] = []
            with without_foreign_keys():
                page = await redis.xrange(stream, min=text.newest.decode(), count=count)
            # Older blocks are trimmed first: where this one was, all are gone.
            if not page or page[0][0] != text.newest:
                return False
            text.add_newer(self._texts_of(page[1:]))
            if len(page) < count:
                if len(page) > 1:
                    await self._bound(redis, stream, text)
                return True
        return False

    async def _bound(self, redis: AsyncCommands, stream: str, text: StreamText) -> None:
        with without_foreign_keys():
            for first, _ in await redis.xrange(stream, count=1):
                text.drop_before(first)
        text.bound(self._most_bytes)

    async def _fill(self, redis: AsyncCommands) -> None:
        # The next look goes on with it.
        with suppress(*ANY_REDIS_ERROR):
            for stream in self._texts:
                await self._fill_from(redis, stream)

    async def _fill_from(self, redis: AsyncCommands, stream: str) -> None:
        text = self._texts[stream]
        if not self._has_room(text):
            return
        async with aclosing(read_pages(redis, stream, _before(text.oldest), most=self._most_at_once)) as pages:
            async for page in pages:
                text.add_older(self._texts_of(page))
                if self._texts[stream] is not text or text.size >= self._most_bytes:
                    return
        # Of an empty stream nothing is known when it begins.
        text.is_complete = text.newest is not None

    def _texts_of(self, page: Sequence[Entry]) -> list[Block]:
        return [Block(entry, self._text_of(entry, fields), names_of(fields)) for entry, fields in page]

    def _text_of(self, entry: bytes, fields: Mapping[bytes, bytes]) -> bytes:
        block = fields.get(b"runs", b"")
        if self._secrets.can_decrypt and ENCRYPTED.encode() in block:
            runs = runs_of(entry, fields, self._secrets)
            shown = [text for run in runs for text in (run.arguments, run.result, run.error, run.traceback) if text]
            # As a message has them, too.
            shown += [as_text({"args": run.values.args, "kwargs": run.values.kwargs}) for run in runs]
            block += "\n".join(["", *shown]).encode(errors="surrogatepass")
        return searchable(block)

    def _has_room(self, text: StreamText) -> bool:
        return not (text.is_complete or text.size >= self._most_bytes)


async def _let_others_work(place: int) -> None:
    if place % _SEGMENTS_AT_ONCE == 0:
        await asyncio.sleep(0)


def _before(oldest: bytes | None) -> str:
    return "+" if oldest is None else f"({oldest.decode()}"
