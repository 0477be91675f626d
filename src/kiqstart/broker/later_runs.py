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
    oldest = min(failed.values())
    async with aclosing(walk_named(redis, keys.runs, among=failed.keys(), since=oldest, index=index)) as runs:
        async for run in runs:
            if run.task_id is not None and failed[run.task_id] < run.ended:
                found.add(run.task_id)
    return found
