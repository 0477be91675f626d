"""Reads entries of streams, such as the blocks of runs that have ended, a page of them at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from redis.exceptions import NoPermissionError

from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.script import Script
from kiqstart.redis.commands import AsyncCommands, Entry, answer_or

# Blocks that are read at once: few, then more while they are small.
_FIRST_READ: Final = 20
MOST_AT_ONCE: Final = 1000
"""Blocks."""
BYTES_AT_ONCE: Final = 1024 * 1024
"""About."""
# In one step of Redis, in which it answers nobody else: half a millisecond at most; little first, for what is common.
_BYTES_FIRST_LOOKED_THROUGH: Final = 32 * 1024
_BYTES_LOOKED_THROUGH: Final = 512 * 1024
_FIND_RUNS: Final = Script[tuple[bytes, *tuple[tuple[bytes, list[bytes]], ...]]]("find_runs")


def read_pages(
    redis: AsyncCommands, stream: str, before: str = "+", *, most: int = MOST_AT_ONCE
) -> AsyncGenerator[list[Entry]]:
    """All blocks of a stream up to an id, or up to one that is written `(id` and left out; up to `most` at once."""
    return _pages(lambda start, count: redis.xrevrange(stream, max=start, count=count), before, most)


def read_pages_onward(
    redis: AsyncCommands, stream: str, after: str = "-", *, most: int = MOST_AT_ONCE
) -> AsyncGenerator[list[Entry]]:
    """All entries of a stream from an id on, the oldest first; likewise."""
    return _pages(lambda start, count: redis.xrange(stream, min=start, count=count), after, most)


async def _pages(
    read: Callable[[str, int], Awaitable[list[Entry]]], start: str, most: int
) -> AsyncGenerator[list[Entry]]:
    count = min(_FIRST_READ, most)
    while True:
        entries: list[Entry] = []
        with without_foreign_keys():
            entries = await read(start, count)
        yield entries
        if len(entries) < count:
            return
        start = f"({entries[-1][0].decode()}"
        size = sum(len(value) for _, fields in entries for value in fields.values())
        count = max(min(2 * count, most, count * BYTES_AT_ONCE // (size + 1)), 1)


async def read_pages_with(
    redis: AsyncCommands, stream: str, needles: Sequence[bytes], before: str = "+"
) -> AsyncGenerator[list[Entry]]:
    """The blocks that hold certain texts: Redis looks for them, and hands over few of 100,000 runs."""
    bytes_at_once = _BYTES_FIRST_LOOKED_THROUGH
    while before:
        next_before, found = b"", list[tuple[bytes, list[bytes]]]()
        try:
            with without_foreign_keys():
                next_before, *found = await _FIND_RUNS(redis, [stream], [before, bytes_at_once, *needles])
        except NoPermissionError:
            # A user who may run no scripts looks through all by himself.
            async with aclosing(read_pages(redis, stream, before)) as pages:
                async for page in pages:
                    yield page
            return
        yield [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in found]
        before = next_before.decode()
        bytes_at_once = min(2 * bytes_at_once, _BYTES_LOOKED_THROUGH)


async def read_blocks(redis: AsyncCommands, stream: str, ids: Sequence[bytes]) -> list[Entry]:
    """Those of some ids that are still kept."""
    answers: list[object] = []
    with without_foreign_keys():
        async with redis.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.xrange(stream, min=one.decode(), max=one.decode())
            answers = await pipe.execute()
    return [entry for answer in answers for entry in answer_or(answer, list[Entry]())]
