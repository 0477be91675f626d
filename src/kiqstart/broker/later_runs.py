"""Which of several tasks have had a later run that has not failed."""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.named_walks import walk_named
from kiqstart.broker.run_index import RunIndex
from kiqstart.redis.commands import AsyncCommands


async def with_later_runs(
    redis: AsyncCommands, keys: QueueKeys, failed: Mapping[str, datetime], *, index: RunIndex | None = None
) -> set[str]:
    """Those of which a run ended later that has not failed; of each is told when a run of it has failed."""
    found: set[str] = set()
    if not failed:
        return found
    oldest, names = min(failed.values()), frozenset(failed)
    async with aclosing(walk_named(redis, keys.runs, among=names, since=oldest, index=index)) as pages:
        async for page in pages:
            found |= {run.task_id for run in page if run.task_id is not None and failed[run.task_id] < run.ended}
    return found
