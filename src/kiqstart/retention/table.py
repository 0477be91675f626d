"""What PostgreSQL knows about a policy's table."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Column, FromClause, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

# A table with its partitions, and with what inherits from it, which a DELETE takes in as well.
FAMILY: Final = """
family AS (
    SELECT CAST(:table AS regclass)::oid AS oid
    UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid
)
"""
# The files of a table and its partitions (`c`), read past the transaction's snapshot, which may be older than these.
STORAGE_OF: Final = "md5(string_agg(pg_relation_filenode(c.oid)::text, ',' ORDER BY c.oid))"
_SIZE: Final = text(f"""
WITH RECURSIVE {FAMILY}, block AS (SELECT current_setting('block_size')::bigint AS size)
SELECT
    coalesce(max(pg_relation_size(c.oid) / block.size), 0)::bigint AS longest,
    coalesce(sum(pg_relation_size(c.oid) / block.size), 0)::bigint AS pages,
    coalesce(sum(greatest(c.relpages, 0)), 0)::bigint AS known_pages,
    coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS known_rows,
    coalesce({STORAGE_OF}, '') AS storage,
    (SELECT a.attname FROM pg_partitioned_table p
     JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
     WHERE p.partrelid = CAST(:table AS regclass) AND p.partstrat = 'r') AS by_range_of,
    block.size AS block_size,
    current_setting('seq_page_cost')::float AS page_cost,
    current_setting('cpu_tuple_cost')::float + current_setting('cpu_operator_cost')::float AS row_cost
FROM block LEFT JOIN pg_class c ON c.relkind = 'r' AND c.oid IN (SELECT oid FROM family)
GROUP BY block.size
""")  # noqa: S608 - made of constants
_PAGES: Final = text(f"""
WITH RECURSIVE {FAMILY}
SELECT coalesce(sum(pg_relation_size(c.oid) / current_setting('block_size')::bigint), 0)::bigint
FROM pg_class c WHERE c.relkind = 'r' AND c.oid IN (SELECT oid FROM family) AND c.relname = ANY(CAST(:names AS text[]))
""")  # noqa: S608 - made of constants
_COLUMN: Final = text("""
SELECT s.correlation, coalesce(s.most_common_freqs[1], 0) AS commonest
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = :column
    AND s.inherited = (c.relkind = 'p')
WHERE c.oid = CAST(:table AS regclass)
""")
_PAGE_HEADER: Final = 24
_SMALLEST_ROW: Final = 28  # a header of 24 bytes and a line pointer of 4
_ROWS_PER_UNKNOWN_PAGE: Final = 50.0


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table's pages, those of its longest partition (or itself), and the rows that were counted at the last ANALYZE.

    `storage` changes when the table is rewritten (`VACUUM FULL`, `CLUSTER`), which moves all rows to other pages. Costs
    are the planner's, in its units. `by_range_of` names the first column of which its partitions are ranges, if any;
    `share` is the part of the pages that lies in partitions which may have a policy's rows, the only ones that a page
    walk reads.
    """

    longest: int
    pages: int
    known_pages: int
    known_rows: int
    storage: str
    block_size: int
    page_cost: float = 1.0
    row_cost: float = 0.0125
    by_range_of: str | None = None
    share: float = 1.0

    @property
    def cost(self) -> float:
        """What the planner reckons for reading its share and looking at each row (`cost_seqscan` in costsize.c)."""
        return self.share * (self.pages * self.page_cost + self.rows * self.row_cost)

    @property
    def is_one(self) -> bool:
        """Whether all rows lie in one heap, that of the table or of its only partition."""
        return self.longest == self.pages

    @property
    def rows_per_page(self) -> float:
        """Rows on a page, on average."""
        if not self.known_pages or not self.known_rows:
            return _ROWS_PER_UNKNOWN_PAGE
        return max(1.0, self.known_rows / self.known_pages)

    @property
    def rows(self) -> int:
        """Rows in the table, as an estimate from its present size."""
        return round(self.pages * self.rows_per_page)

    @property
    def lines_per_page(self) -> int:
        """One more than the highest line number that a page can have (`MaxHeapTuplesPerPage`)."""
        return (self.block_size - _PAGE_HEADER) // _SMALLEST_ROW + 1


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """How far the heap's order follows a column's (-1 to 1), and the share of rows that have its commonest value."""

    correlation: float
    commonest: float


async def read_table_size(connection: AsyncConnection, table: FromClause) -> TableSize:
    """Read the sizes of a table and its partitions."""
    row = (await connection.execute(_SIZE, {"table": qualified_name(connection, table)})).one()
    return TableSize(
        longest=row.longest,
        pages=row.pages,
        known_pages=row.known_pages,
        known_rows=row.known_rows,
        storage=row.storage,
        block_size=row.block_size,
        page_cost=row.page_cost,
        row_cost=row.row_cost,
        by_range_of=row.by_range_of,
    )


async def read_pages_of(connection: AsyncConnection, table: FromClause, names: Collection[str]) -> int:
    """Read how many pages those of a table's partitions have."""
    parameters = {"table": qualified_name(connection, table), "names": list(names)}
    return int(await connection.scalar(_PAGES, parameters) or 0)


async def read_column_statistics(connection: AsyncConnection, column: Column[Any]) -> ColumnStatistics | None:
    """Read what the last ANALYZE found out about a column; None if there was none."""
    parameters = {"table": qualified_name(connection, column.table), "column": column.name}
    row = (await connection.execute(_COLUMN, parameters)).one_or_none()
    if row is None or row.correlation is None:
        return None
    return ColumnStatistics(correlation=row.correlation, commonest=row.commonest)


def qualified_name(connection: AsyncConnection, table: FromClause) -> str:
    """Return a table's name as SQL writes it, in the schema that the connection has put in the place of its own."""
    named, quote = cast("Table[Any]", table), connection.dialect.identifier_preparer
    sync = connection.sync_connection
    options: dict[str, Any] = dict(sync.get_execution_options()) if sync else {}
    schemas = cast("dict[str | None, str | None]", options.get("schema_translate_map") or {})
    schema = schemas.get(named.schema, named.schema)
    return f"{quote.quote_schema(schema)}.{quote.quote(named.name)}" if schema else quote.quote(named.name)
