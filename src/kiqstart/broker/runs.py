"""The runs that have ended in the last hours: which there were, newest first, and which end now."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.run_decoding import Run, ended_at, runs_of
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_needles import Needles
from kiqstart.broker.run_pages import MOST_AT_ONCE, read_pages, read_pages_with
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.walks import first_of, merged
from kiqstart.redis.commands import AsyncCommands, Entry
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets

_FAILED: Final = frozenset({Outcome.FAILED, Outcome.DEAD})
_EVERY: Final = RunFilter()


async def read_runs(
    redis: AsyncCommands,
    keys: QueueKeys,
    which: RunFilter = _EVERY,
    *,
    limit: int = 100,
    secrets: Secrets = NO_SECRETS,
    index: RunIndex | None = None,
) -> Sequence[Run]:
    """The newest runs, newest first; what is encrypted is shown as `secrets` can read it.

    An `index` is for who reads often.

    Raises:
        RedisError: Redis is away.
    """
    return await first_of(walk_runs(redis, keys, which, secrets, index), limit)


async def walk_runs(
    redis: AsyncCommands,
    keys: QueueKeys,
    which: RunFilter = _EVERY,
    secrets: Secrets = NO_SECRETS,
    index: RunIndex | None = None,
) -> AsyncGenerator[Run]:
    """All runs that are kept, newest first, read as they are asked for.

    Raises:
        RedisError: Redis is away.
    """
    streams = [
        key
        for key, has_failed in ((keys.failed_runs, True), (keys.runs, False))
        if which.outcome is None or (which.outcome in _FAILED) is has_failed
    ]
    walks = await _walks(redis, streams, which, secrets, index)
    async with aclosing(merged(walks, lambda run: -run.ended.timestamp())) as runs:
        async for run in runs:
            yield run


class RunTail:
    """Reads runs that end from now on.

    Args:
        redis: an async client.
        secrets: decrypts what is encrypted.
    """

    def __init__(self, redis: AsyncCommands, keys: QueueKeys, secrets: Secrets = NO_SECRETS) -> None:
        self._redis = redis
        self._secrets = secrets
        self._after = dict.fromkeys((keys.runs, keys.failed_runs), "-")

    async def start(self) -> None:
        """Pass over those that have ended by now.

        Raises:
            RedisError: Redis is away.
        """
        for stream in self._after:
            with without_foreign_keys():
                for entry, _ in await self._redis.xrevrange(stream, count=1):
                    self._after[stream] = f"({entry.decode()}"

    async def read(self) -> Sequence[Run]:
        """Those that have ended since the last look, oldest first.

        Raises:
            RedisError: Redis is away.
        """
        found: list[Run] = []
        for stream, after in self._after.items():
            with without_foreign_keys():
                entries = await self._redis.xrange(stream, min=after, count=MOST_AT_ONCE)
                if entries:
                    self._after[stream] = f"({entries[-1][0].decode()}"
                found += [run for entry in entries for run in runs_of(*entry, self._secrets)]
        # Of two that ended in one millisecond, the one that began first.
        return sorted(found, key=lambda run: (run.ended, run.began or run.ended))


async def _walks(
    redis: AsyncCommands, streams: Sequence[str], which: RunFilter, secrets: Secrets, index: RunIndex | None
) -> list[AsyncGenerator[Run]]:
    """A walk through each stream."""
    needles = Needles.of(which, are_readable=not secrets.can_decrypt)
    # An index has what is encrypted as it is shown.
    shown = Needles.of(which, are_readable=True)
    if index is None or not shown.in_searchable:
        return [_walk(_pages(redis, stream, needles), which, needles, secrets) for stream in streams]
    await index.refresh(redis)
    return [_walk(index.pages(redis, stream, shown), which, needles, secrets) for stream in streams]


async def _walk(
    pages: AsyncGenerator[list[Entry]], which: RunFilter, needles: Needles, secrets: Secrets
) -> AsyncGenerator[Run]:
    """Those of one stream, newest first."""
    async with aclosing(pages):
        async for page in pages:
            for entry, fields in page:
                ended = ended_at(entry)
                if which.since is not None and ended is not None and ended < which.since:
                    return
                for run in reversed(runs_of(entry, fields, secrets, may_fit=needles.are_in)):
                    if which.fits(run):
                        yield run


def _pages(redis: AsyncCommands, stream: str, needles: Needles) -> AsyncGenerator[list[Entry]]:
    """The blocks that may hold what is looked for, newest first."""
    exact = (*needles.exact, *needles.values)
    return read_pages_with(redis, stream, exact) if exact else read_pages(redis, stream)
