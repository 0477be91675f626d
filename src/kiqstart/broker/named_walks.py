"""Walks through the names of kept runs: which there are, without what else is written of them."""

from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from datetime import datetime
from itertools import takewhile

from kiqstart.broker.message_view import may_name
from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.run_decoding import ended_at
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_names import NamedRun, named_runs, names_of
from kiqstart.broker.run_pages import read_pages
from kiqstart.redis.commands import AsyncCommands


async def walk_named(
    redis: AsyncCommands,
    stream: str,
    *,
    among: AbstractSet[str] | None = None,
    since: datetime | None = None,
    index: RunIndex | None = None,
) -> AsyncGenerator[Sequence[NamedRun]]:
    """The runs of a stream, newest first, some at a time.

    Args:
        redis: an async client.
        stream: its key.
        among: the ids of the tasks whose runs are asked for; of all without it.
        since: those that ended then or later.
        index: for who asks often.

    Raises:
        RedisError: Redis is away.
    """
    async with aclosing(_pages(redis, stream, among, since, index)) as pages:
        async for page in pages:
            young = page if since is None else list(takewhile(lambda run: run.ended >= since, page))
            yield young
            if len(young) < len(page):
                return


async def _pages(
    redis: AsyncCommands,
    stream: str,
    among: AbstractSet[str] | None,
    since: datetime | None,
    index: RunIndex | None,
) -> AsyncGenerator[Sequence[NamedRun]]:
    before = "+"
    if index is not None:
        await index.refresh(redis)
        if since is None:
            await index.filled()
        before = index.before_all(stream)
        async with aclosing(index.runs(redis, stream, among)) as in_memory:
            async for page in in_memory:
                yield page
    if before:
        async with aclosing(_read(redis, stream, before, among, since)) as kept:
            async for page in kept:
                yield page


async def _read(
    redis: AsyncCommands, stream: str, before: str, among: AbstractSet[str] | None, since: datetime | None
) -> AsyncGenerator[Sequence[NamedRun]]:
    """Those that Redis has, from a block on."""
    written = None if among is None else {plain_in_json(task_id) for task_id in among}
    async with aclosing(read_pages(redis, stream, before)) as pages:
        async for page in pages:
            runs = [
                run
                for entry, fields in page
                if written is None or may_name(fields.get(b"runs", b""), written)
                for run in named_runs(entry, names_of(fields))
                if among is None or run.task_id in among
            ]
            yield runs
            ended = ended_at(page[-1][0]) if page else None
            if since is not None and ended is not None and ended < since:
                return
