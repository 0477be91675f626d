"""What PostgreSQL has behind a policy's table, and whether a DELETE of it does what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import BinaryExpression, BindParameter, Column, ColumnElement, DateTime, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ClauseElement

from kiqstart.retention.errors import PolicyError
from kiqstart.retention.layout import GUARDS, event_of
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.stored_types import StoredTypes
from kiqstart.retention.table import FAMILY, qualified_name
from kiqstart.retention.target import outer_elements
from kiqstart.retention.tree import SelfReference

_RELATION: Final = text(f"""
WITH RECURSIVE {FAMILY}, member AS (SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT oid FROM family)),
column_of AS (
    SELECT a.attname AS name, bool_and(a.attnotnull) AS is_never_null,
        min(format_type(a.atttypid, -1)) FILTER (WHERE a.attrelid = CAST(:table AS regclass)) AS type,
        bool_or(t.typcategory = 'A') AS is_array,
        min(format_type(coalesce(nullif(t.typbasetype, 0), t.oid), -1)) AS base_type
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid IN (SELECT oid FROM family) AND a.attname = ANY(CAST(:columns AS text[])) AND NOT a.attisdropped
    GROUP BY a.attname
)
SELECT
    (SELECT relkind::text FROM member WHERE oid = CAST(:table AS regclass)) AS kind,
    (SELECT min(oid::regclass::text) FROM member WHERE relkind NOT IN ('r', 'p')) AS foreign_member,
    row_security_active(CAST(:table AS regclass)) AS hides_rows,
    current_user AS role,
    (SELECT min(rulename) FROM pg_rewrite WHERE ev_class = CAST(:table AS regclass)
        AND ev_type::text = CAST(:event AS text) AND is_instead) AS rule,
    (SELECT min(tgname) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM family)
        AND tgtype & CAST(:before_event AS int) = CAST(:before_event AS int) AND tgenabled <> 'D') AS keeper,
    EXISTS (SELECT FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM family) AND tgenabled <> 'D' AND tgtype & 1 = 1
        AND tgtype & CAST(:before_event AS int) & (8 | 16) <> 0) AS has_row_triggers,
    {GUARDS} AS guards,
    EXISTS (SELECT FROM pg_publication) AS may_be_published,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(
        ARRAY(SELECT a.attname FROM unnest(conkey) WITH ORDINALITY k(n, i)
            JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.n ORDER BY k.i),
        ARRAY(SELECT a.attname FROM unnest(confkey) WITH ORDINALITY k(n, i)
            JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.n ORDER BY k.i),
        confdeltype)), '[]')
     FROM pg_constraint
     WHERE contype = 'f' AND conrelid = CAST(:table AS regclass) AND confrelid = conrelid) AS own_references,
    has_table_privilege(CAST(:table AS regclass), 'DELETE') AS may_delete,
    has_any_column_privilege(CAST(:table AS regclass), 'UPDATE') AS may_lock,
    (SELECT jsonb_object_agg(name, type) FROM column_of) AS types,
    ARRAY(SELECT name FROM column_of WHERE is_array)::text[] AS arrays,
    ARRAY(SELECT name FROM column_of WHERE NOT is_never_null)::text[] AS nullable,
    ARRAY(SELECT name FROM column_of WHERE base_type = 'timestamp with time zone')::text[] AS aware,
    ARRAY(SELECT name FROM column_of WHERE base_type = 'timestamp without time zone')::text[] AS naive
""")  # noqa: S608 - made of constants
# By itself, since the plan alone takes longer than the rest, and few databases publish anything.
_WITHOUT_IDENTITY: Final = text(f"""
WITH RECURSIVE {FAMILY}, member AS (SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT oid FROM family))
SELECT min(m.oid::regclass::text) FROM member m
JOIN pg_namespace n ON n.oid = m.relnamespace
JOIN pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename IN (SELECT relname FROM member)
JOIN pg_publication p ON p.pubname = t.pubname
    AND CASE WHEN CAST(:deletes AS bool) THEN p.pubdelete ELSE p.pubupdate END
WHERE m.relkind = 'r' AND (m.relreplident = 'n'
    OR (m.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = m.oid AND indisprimary))
    OR (m.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = m.oid AND indisreplident)))
""")  # noqa: S608 - made of constants
# Of a schema without USAGE, PostgreSQL says that it has no such table, or refuses to look there if its name is given.
_PRESENCE: Final = text("""
SELECT quote_ident(closed.schema) AS closed, quote_ident(current_user) AS role,
    CASE WHEN closed.schema IS NULL OR cardinality(name) = 1 THEN to_regclass(:table) END IS NOT NULL AS found
FROM parse_ident(:table) AS name, LATERAL (
    SELECT min(n.nspname) AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = name[cardinality(name)] AND (cardinality(name) = 1 OR n.nspname = name[1])
        AND NOT has_schema_privilege(n.oid, 'USAGE')
) AS closed
""")
_KINDS: Final = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, slots=True)
class Relation:
    """What the engine has to know of a table that can be deleted from.

    `keeper` is a trigger that may keep a row from being deleted without an error; with `has_row_triggers` each row sets
    one off, that of a foreign key included; `own_references` are foreign keys on
    the table itself; `guards` tells whether either has changed; `types` are those of the key's columns.
    """

    keeper: str | None
    has_row_triggers: bool
    guards: str
    own_references: tuple[SelfReference, ...]
    types: StoredTypes


async def read_relation(connection: AsyncConnection, policy: RetentionPolicy) -> Relation:
    """Look at the table behind a policy.

    Raises:
        PolicyError: it is none that rows can be deleted from in batches so that each is counted and none is missed.
    """
    table = qualified_name(connection, policy.table)
    problem = await _absence(connection, table)
    if problem:
        raise PolicyError(policy.name, problem)
    named = (*policy.key, *policy.columns(policy.error_key))
    used = [*named, *(one for one in _columns(policy) if isinstance(one.type, DateTime))]
    parameters = {"table": table, "columns": [one.name for one in used], **event_of(policy)}
    found = (await connection.execute(_RELATION, parameters)).one()
    types = StoredTypes(found.types or {}, frozenset(found.arrays))
    problem = (
        _kind_problem(table, found.kind, found.foreign_member)
        or _missing_problem(table, named, types)
        or _hidden_problem(policy, table, found)
        or (found.may_be_published and await _publication_problem(connection, policy, table))
        or _null_problem(policy, table, found.nullable)
        or _time_zone_problem(policy, found.aware, found.naive)
        or _rights_problem(policy, table, found, connection.dialect.identifier_preparer.quote)
    )
    if problem:
        raise PolicyError(policy.name, problem)
    references = (
        SelfReference(tuple(columns), tuple(referred), on_delete)
        for columns, referred, on_delete in (found.own_references if policy.deletes else ())
    )
    return Relation(
        keeper=found.keeper,
        has_row_triggers=found.has_row_triggers,
        guards=found.guards,
        own_references=tuple(references),
        types=types,
    )


async def _absence(connection: AsyncConnection, table: str) -> str | None:
    presence = (await connection.execute(_PRESENCE, {"table": table})).one()
    if presence.found:
        return None
    if presence.closed is not None:
        return (
            f"the table {table} lies in schema {presence.closed}, which the role {presence.role} may not use: run "
            f"`GRANT USAGE ON SCHEMA {presence.closed} TO {presence.role}` as the schema's owner"
        )
    return f"PostgreSQL has no table {table} (in the role's search_path): run the migration that makes it"


def _kind_problem(table: str, kind: str, foreign_member: str | None) -> str | None:
    if kind in _KINDS:
        return (
            f"{table} is {_KINDS[kind]}, whose rows have no place of their own: name the class of the table behind it"
        )
    if foreign_member is not None:
        return (
            f"{foreign_member} is a foreign table among the partitions of {table}: delete its rows on their own server"
        )
    return None


def _rights_problem(policy: RetentionPolicy, table: str, found: Any, quote: Callable[[str], str]) -> str | None:  # noqa: ANN401 - a row
    # To lock rows, which passing over locked ones begins with, takes the right to update one of their columns.
    if (found.may_delete or policy.update) and found.may_lock:
        return None
    grant = f"GRANT DELETE, UPDATE ({quote(policy.primary_key[0].name)}) ON {table} TO {quote(found.role)}"
    return f"the role may not delete and lock rows: run `{grant}`"


def _hidden_problem(policy: RetentionPolicy, table: str, found: Any) -> str | None:  # noqa: ANN401 - a row
    if found.hides_rows:
        return (
            f"row-level security hides rows of {table} from role {found.role!r}, and would keep them without a word: "
            "run the clean-up as a role with BYPASSRLS, or as the table's owner"
        )
    if found.rule is not None:
        what = "a DELETE from" if policy.deletes else "an UPDATE of"
        return f"rule {found.rule!r} does something else instead of {what} {table}: drop it, or do the same by `update`"
    return None


async def _publication_problem(connection: AsyncConnection, policy: RetentionPolicy, table: str) -> str | None:
    parameters = {"table": table, "deletes": policy.deletes}
    without: str | None = await connection.scalar(_WITHOUT_IDENTITY, parameters)
    if without is None:
        return None
    return (
        f"a publication publishes what is done to {table}, and {without} has no replica identity for that: give it a "
        f"primary key, or run `ALTER TABLE {without} REPLICA IDENTITY FULL`"
    )


def _missing_problem(table: str, columns: Sequence[Column[Any]], types: StoredTypes) -> str | None:
    missing = next((column.name for column in columns if column.name not in types.names), None)
    return None if missing is None else f"{table} has no column {missing!r}: run the migration that makes it"


def _null_problem(policy: RetentionPolicy, table: str, nullable: Sequence[str]) -> str | None:
    for column in policy.key:
        if column.name in nullable and not policy.excludes_null(column):
            return (
                f"column {column.name!r} of {table} may be NULL in PostgreSQL, and neither a cursor nor a key comes to "
                f"such rows: set it NOT NULL, add `{column.name} IS NOT NULL` to the predicate, or leave the cursor out"
            )
    return None


def _time_zone_problem(policy: RetentionPolicy, aware: Sequence[str], naive: Sequence[str]) -> str | None:
    for column in (*policy.key, *_columns(policy)):
        if isinstance(column.type, DateTime) and column.name in (naive if column.type.timezone else aware):
            has = "no time zone" if column.type.timezone else "a time zone"
            return (
                f"column {column.name!r} has {has} in PostgreSQL, and the model says otherwise: the session's time "
                f"zone would decide which rows go; write `DateTime(timezone={not column.type.timezone})` in the model"
            )
    for element in outer_elements(policy.predicate):
        if isinstance(element, BinaryExpression):
            for value, other in ((element.left, element.right), (element.right, element.left)):
                problem = _moment_problem(value, other)
                if problem:
                    return problem
    return None


def _moment_problem(value: ClauseElement, other: ClauseElement) -> str | None:
    """Say if a moment with a time zone meets a column without one, or the reverse."""
    # A type of one's own converts the value itself.
    if not (isinstance(value, BindParameter) and isinstance(value.type, DateTime) and isinstance(other, ColumnElement)):
        return None
    if not isinstance(other.type, DateTime):
        return None
    values = cast("Sequence[object]", value.value if isinstance(value.value, (list, tuple)) else (value.value,))
    for moment in values:
        if isinstance(moment, datetime) and (moment.tzinfo is not None) is not other.type.timezone:
            return (
                f"its predicate compares {other} with {moment!r}: the column has a time zone, so give the moment one, "
                "as in `datetime.now(UTC)`"
                if other.type.timezone
                else f"its predicate compares {other} with {moment!r}: the column has no time zone, so give a moment "
                "without one (`.replace(tzinfo=None)`, in the time zone of the rows), or make the column `timestamptz`"
            )
    return None


def _columns(policy: RetentionPolicy) -> list[Column[Any]]:
    """Return the table's columns that the predicate names."""
    own = policy.table.columns
    return [one for one in outer_elements(policy.predicate) if isinstance(one, Column) and own.contains_column(one)]
