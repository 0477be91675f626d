"""The runs that have ended in the last hours: which there were, newest first, and which end now."""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import NoPermissionError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.run_decoding import Run, runs_of
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.script import Script
from kiqstart.observability.redaction import redact
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from redis.asyncio import Redis

_FAILED: Final = frozenset({Outcome.FAILED, Outcome.DEAD})
# Blocks that are read at once: few, then more while they are small.
_FIRST_READ: Final = 20
_LAST_READ: Final = 1000
_BYTES_AT_ONCE: Final = 1024 * 1024
# In one step of Redis, in which it answers nobody else: about a millisecond.
_BYTES_LOOKED_THROUGH: Final = 512 * 1024
_WORD: Final = re.compile("[A-Za-z0-9]+")
_FIND_RUNS: Final = Script("find_runs")

Entry = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are looked for; all that is not None has to fit.

    Args:
        task_id: the task's id.
        task: the task's name.
        since: runs that ended then or later.
        text: is in the id, the task's name, the arguments, the result, the error, or the worker's name or host, in
            capitals or not.
    """

    task_id: str | None = None
    task: str | None = None
    outcome: Outcome | None = None
    queue: str | None = None
    since: datetime | None = None
    text: str | None = None

    def fits(self, run: Run) -> bool:
        """Whether a run is one of them."""
        return (
            self.task_id in (None, run.task_id)
            and self.task in (None, run.task)
            and self.outcome in (None, run.outcome)
            and self.queue in (None, run.queue)
            and (self.since is None or run.ended >= self.since)
            and (self.text is None or _has_text(run, self.text.casefold()))
        )


_EVERY: Final = RunFilter()


async def read_runs(
    redis: object, keys: QueueKeys, which: RunFilter = _EVERY, *, limit: int = 100, secrets: Secrets = NO_SECRETS
) -> Sequence[Run]:
    """The newest runs, newest first; what is encrypted is shown as `secrets` can read it.

    Raises:
        RedisError: Redis is away.
    """
    found: list[Run] = []
    async with aclosing(walk_runs(redis, keys, which, secrets)) as runs:
        async for run in runs:
            if len(found) >= limit:
                break
            found.append(run)
    return found


async def walk_runs(
    redis: object, keys: QueueKeys, which: RunFilter = _EVERY, secrets: Secrets = NO_SECRETS
) -> AsyncGenerator[Run]:
    """All runs that are kept, newest first, read as they are asked for.

    Raises:
        RedisError: Redis is away.
    """
    client = cast("Redis", redis)
    streams = [
        key
        for key, has_failed in ((keys.runs, False), (keys.failed_runs, True))
        if which.outcome is None or (which.outcome in _FAILED) is has_failed
    ]
    walks = [_walk(client, stream, which, secrets) for stream in streams]
    try:
        heads = [await anext(walk, None) for walk in walks]
        while any(head is not None for head in heads):
            newest = max((head.ended, place) for place, head in enumerate(heads) if head is not None)[1]
            run = cast("Run", heads[newest])
            heads[newest] = await anext(walks[newest], None)
            yield run
    finally:
        for walk in walks:
            await walk.aclose()


class RunTail:
    """Reads runs that end from now on.

    Args:
        redis: an async client.
        secrets: decrypts what is encrypted.
    """

    def __init__(self, redis: object, keys: QueueKeys, secrets: Secrets = NO_SECRETS) -> None:
        self._redis = cast("Redis", redis)
        self._secrets = secrets
        self._after = dict.fromkeys((keys.runs, keys.failed_runs), "-")

    async def start(self) -> None:
        """Pass over those that have ended by now.

        Raises:
            RedisError: Redis is away.
        """
        for stream in self._after:
            with without_foreign_keys():
                for entry, _ in cast("list[Entry]", await self._redis.xrevrange(stream, count=1)):
                    self._after[stream] = f"({entry.decode()}"

    async def read(self) -> Sequence[Run]:
        """Those that have ended since the last look, oldest first.

        Raises:
            RedisError: Redis is away.
        """
        found: list[Run] = []
        for stream, after in self._after.items():
            with without_foreign_keys():
                entries = cast("list[Entry]", await self._redis.xrange(stream, min=after, count=_LAST_READ))
                if entries:
                    self._after[stream] = f"({entries[-1][0].decode()}"
                found += [run for entry in entries for run in runs_of(*entry, self._secrets)]
        # Of two that ended in one millisecond, the one that began first.
        return sorted(found, key=lambda run: (run.ended, run.began or run.ended))


async def _walk(redis: "Redis", stream: str, which: RunFilter, secrets: Secrets) -> AsyncGenerator[Run]:
    """Those of one stream, newest first."""
    might_fit, needles = _might_fit(which, are_readable=not secrets.can_decrypt), _needles_of(which)
    async with aclosing(_pages_with(redis, stream, needles) if needles else _pages(redis, stream)) as pages:
        async for page in pages:
            for entry, fields in page:
                if not might_fit(fields):
                    continue
                for run in reversed(runs_of(entry, fields, secrets)):
                    if which.since is not None and run.ended < which.since:
                        return
                    if which.fits(run):
                        yield run


async def _pages(redis: "Redis", stream: str) -> AsyncGenerator[list[Entry]]:
    """All blocks, newest first."""
    before, count = "+", _FIRST_READ
    while True:
        entries: list[Entry] = []
        with without_foreign_keys():
            entries = cast("list[Entry]", await redis.xrevrange(stream, max=before, count=count))
        yield entries
        if len(entries) < count:
            return
        before = f"({entries[-1][0].decode()}"
        size = sum(len(value) for _, fields in entries for value in fields.values())
        count = max(min(2 * count, _LAST_READ, count * _BYTES_AT_ONCE // (size + 1)), 1)


async def _pages_with(redis: "Redis", stream: str, needles: Sequence[bytes]) -> AsyncGenerator[list[Entry]]:
    """The blocks with certain texts, newest first: Redis looks for them, and hands over few of 100,000 runs."""
    before = "+"
    while before:
        answer: list[object] = [b""]
        try:
            with without_foreign_keys():
                answer = cast(
                    "list[object]", await _FIND_RUNS(redis, [stream], [before, _BYTES_LOOKED_THROUGH, *needles])
                )
        except NoPermissionError:
            # A user who may run no scripts looks through all by himself.
            async with aclosing(_pages(redis, stream)) as pages:
                async for page in pages:
                    yield page
            return
        found = cast("list[tuple[bytes, list[bytes]]]", answer[1:])
        yield [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in found]
        before = cast("bytes", answer[0]).decode()


def _might_fit(which: RunFilter, *, are_readable: bool) -> Callable[[dict[bytes, bytes]], bool]:
    """A quick look at a block: whether it may hold runs that fit; most hold none of a single task."""
    needles = _needles_of(which)
    # Words are written as they are shown; numbers may not be.
    words = [word for word in _WORD.findall(which.text or "") if not word.isdigit()]
    word = max(words, key=len, default="").lower().encode() if are_readable else b""

    def might_fit(fields: dict[bytes, bytes]) -> bool:
        block = fields.get(b"runs", b"")
        return all(needle in block for needle in needles) and (not word or word in block.lower())

    return might_fit


def _needles_of(which: RunFilter) -> list[bytes]:
    """Texts that a block has to hold: names in its messages, and the queue in its first line."""
    needles = [needle for name in (which.task_id, which.task) if (needle := _plain(name)) is not None]
    queue = _plain(which.queue)
    return needles if queue is None else [*needles, b" %b " % queue]


def _plain(name: str | None) -> bytes | None:
    """A name as it stands in a message; None where JSON may have it in several ways."""
    is_plain = name is not None and name.isascii() and name.isprintable() and not {'"', "\\", "/"} & set(name)
    return name.encode() if name and is_plain else None


def _has_text(run: Run, wanted: str) -> bool:
    """Whether a text, in small letters, is in what is shown of a run; in the rest, a search would tell secrets."""
    texts = (run.task_id, run.task, run.arguments, run.result, run.error, run.traceback, run.worker, run.host)
    return any(text and wanted in text.casefold() and wanted in redact(text).casefold() for text in texts)
