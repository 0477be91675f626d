"""Which of several tasks have had a later run that has not failed."""

from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from datetime import datetime

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.run_decoding import ended_at, runs_of
from kiqstart.broker.run_index import RunIndex
from kiqstart.broker.run_pages import read_pages
from kiqstart.broker.run_text import TASK_ID
from kiqstart.redis.commands import AsyncCommands, Entry


async def with_later_runs(
    redis: AsyncCommands, keys: QueueKeys, failed: Mapping[str, datetime], *, index: RunIndex | None = None
) -> set[str]:
    """Those of which a run ended later that has not failed; of each is told when a run of it has failed."""
    found: set[str] = set()
    if not failed:
        return found
    oldest, written = min(failed.values()), {plain_in_json(task_id) for task_id in failed}
    pages = await _pages(redis, keys, written, index)
    async with aclosing(pages):
        async for page in pages:
            for entry, fields in page:
                ended = ended_at(entry)
                if ended is None or ended <= oldest:
                    return found
                # A message may have the words within its arguments, too.
                if None in written or not written.isdisjoint(TASK_ID.findall(fields.get(b"runs", b""))):
                    ids = {run.task_id for run in runs_of(entry, fields) if run.task_id is not None}
                    found |= {one for one in ids & failed.keys() if failed[one] < ended}
    return found


async def _pages(
    redis: AsyncCommands, keys: QueueKeys, written: AbstractSet[bytes | None], index: RunIndex | None
) -> AsyncGenerator[list[Entry]]:
    """The blocks of runs that have not failed; of tasks that JSON may have in several ways, all."""
    if index is None or None in written:
        return read_pages(redis, keys.runs)
    await index.refresh(redis)
    return index.pages_naming(redis, keys.runs, {one for one in written if one is not None})
