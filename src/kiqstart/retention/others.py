"""What others do on the server while a run works."""

from typing import Final

from sqlalchemy import func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.shard import RUNS
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


async def look_at_others(connection: AsyncConnection, takeover_after: float) -> Others:
    """Look once; a transaction sees the sessions as they are at its first look."""
    alive = RUNS.c.heartbeat_at > func.clock_timestamp() - literal(takeover_after) * text("interval '1 s'")
    deleters = select(func.count()).where(RUNS.c.owner.is_not(None), RUNS.c.stopped.is_(None), alive)
    row = (await connection.execute(select(*_SESSIONS.c, deleters.scalar_subquery().label("deleters")))).one()
    return Others(in_flight=row.in_flight, recent=row.recent, deleters=row.deleters)
