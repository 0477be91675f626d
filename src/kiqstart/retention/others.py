"""What others do on the server while a run works."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.shard import RUNS, is_recent
from kiqstart.retention.throttle import Others

# Sessions of other roles hide their state (NULL) from a role without pg_read_all_stats. Those without a user are the
# server's own processes.
_SESSIONS: Final = (
    select(
        func.count().filter(text("state = 'active'")).label("in_flight"),
        func.count()
        .filter(text("coalesce(state = 'active' OR state_change > clock_timestamp() - interval '1 s', true)"))
        .label("recent"),
    )
    .select_from(text("pg_stat_activity"))
    .where(
        text("usesysid IS NOT NULL AND pid <> pg_backend_pid()"),
        text("coalesce(backend_type, 'client backend') = 'client backend'"),
    )
    .subquery()
)
# As long as a session counts as recent.
_SECONDS_RECENT: Final = 1.0
# Of all that there were: short ones are hardly ever met.
_SESSIONS_BEGUN: Final = select(text("sum(sessions)::bigint AS begun FROM pg_stat_database")).scalar_subquery()


async def look_at_others(connection: AsyncConnection, takeover_after: float, me: UUID) -> Others:
    """Look once, as the owner of a shard; a transaction sees the sessions as they are at its first look."""
    shards = (
        select(
            func.count().label("deleters"),
            func.count().filter(RUNS.c.owner != me, is_recent(_SECONDS_RECENT)).label("at_work"),
        )
        .where(RUNS.c.owner.is_not(None), RUNS.c.stopped.is_(None), is_recent(takeover_after))
        .subquery()
    )
    seen = select(*_SESSIONS.c, *shards.c, _SESSIONS_BEGUN.label("begun")).select_from(_SESSIONS.join(shards, true()))
    row = (await connection.execute(seen)).one()
    others = max(0, row.recent - row.at_work)
    return Others(in_flight=row.in_flight, others=others, deleters=row.deleters, begun=row.begun)
