"""What becomes of the rows that a run has deleted: they take room until a vacuum, which may come or not."""

from typing import Final

from sqlalchemy import FromClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.table import FAMILY, qualified_name

# As autovacuum decides it (`relation_needs_vacanalyze` in autovacuum.c): a table's own settings before the server's. A
# partitioned table has no rows of its own; its partitions are looked at one by one.
_TABLES: Final = text(f"""
WITH RECURSIVE {FAMILY}
SELECT c.oid::regclass::text AS name, greatest(c.reltuples, 0)::bigint AS rows,
    pg_stat_get_dead_tuples(c.oid) AS dead,
    current_setting('autovacuum')::bool
        AND coalesce((SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'autovacuum_enabled'), true) AS is_on,
    least(
        coalesce((SELECT o.option_value::float FROM pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'autovacuum_vacuum_threshold'), current_setting('autovacuum_vacuum_threshold')::float)
        + greatest(c.reltuples, 0) * coalesce((SELECT o.option_value::float FROM pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'autovacuum_vacuum_scale_factor'),
            current_setting('autovacuum_vacuum_scale_factor')::float),
        nullif(current_setting('autovacuum_vacuum_max_threshold', true), '-1')::float
    )::bigint AS threshold
FROM pg_class c
WHERE c.relkind = 'r' AND c.oid IN (SELECT oid FROM family)
ORDER BY name
""")  # noqa: S608 - made of constants
# What still sees the rows as they were, and so keeps any vacuum from removing them.
_HOLDERS: Final = text("""
SELECT 'a transaction of process ' || pid || ', open for ' || date_trunc('second', clock_timestamp() - xact_start)
FROM pg_stat_activity
WHERE backend_xmin IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
    AND xact_start < clock_timestamp() - make_interval(secs => :seconds)
UNION ALL
SELECT 'the prepared transaction ' || quote_literal(gid) FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => :seconds)
UNION ALL
SELECT 'the replication slot ' || quote_literal(slot_name) FROM pg_replication_slots WHERE xmin IS NOT NULL
""")
_WORTH_A_WORD: Final = 1_000


async def describe_bloat(
    connection: AsyncConnection, table: FromClause, deleted: int, seconds: float
) -> tuple[str, ...]:
    """Say what becomes of the rows that a run of so many seconds has deleted; nothing where they are few."""
    if deleted < _WORTH_A_WORD:
        return ()
    tables = list(await connection.execute(_TABLES, {"table": qualified_name(connection, table)}))
    # The server's count of dead rows lags a little behind, and a single table has all that was deleted.
    fewest = deleted if len(tables) == 1 else 0
    said = [
        _outlook(row.name, max(row.dead, fewest), row.threshold, is_on=row.is_on)
        for row in tables
        if max(row.dead, fewest) >= _WORTH_A_WORD
    ]
    holders = await connection.scalars(_HOLDERS, {"seconds": seconds})
    return (*said, *(f"until it ends, {holder} keeps dead rows from being cleaned up" for holder in holders))


def _outlook(name: str, dead: int, threshold: int, *, is_on: bool) -> str:
    if not is_on:
        return f"{name}: autovacuum is off, so {dead:,} dead rows stay until you run `VACUUM {name}`"
    if dead <= threshold:
        return (
            f"{name}: {dead:,} dead rows stay until more come: autovacuum begins above {threshold:,}; "
            f"`VACUUM {name}` frees their room now"
        )
    return f"{name}: autovacuum will clean up {dead:,} dead rows (above its threshold of {threshold:,})"
