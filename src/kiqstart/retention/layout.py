"""What a batch goes by besides the rows: the files that they are in, and what may keep rows or take others along."""

from typing import Final

from sqlalchemy import ARRAY, ScalarSelect, Text, column, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.table import FAMILY, STORAGE_OF, qualified_name

GUARDS: Final = """concat_ws('|',
    (SELECT coalesce(string_agg(oid::text, ',' ORDER BY oid), '') FROM pg_trigger
     WHERE tgrelid IN (SELECT oid FROM family)
        AND tgtype & CAST(:before_event AS int) = CAST(:before_event AS int) AND tgenabled <> 'D'),
    (SELECT coalesce(string_agg(oid::text, ',' ORDER BY oid), '') FROM pg_rewrite
     WHERE ev_class = CAST(:table AS regclass) AND ev_type::text = CAST(:event AS text) AND is_instead),
    (SELECT coalesce(string_agg(oid::text, ',' ORDER BY oid), '') FROM pg_constraint
     WHERE contype = 'f' AND conrelid = CAST(:table AS regclass) AND confrelid = conrelid))"""
"""Triggers that may keep rows, rules that do something else instead, and references from the table to itself."""

_LAYOUT: Final = text(f"""
WITH RECURSIVE {FAMILY}
SELECT ARRAY[coalesce({STORAGE_OF}, ''), {GUARDS}] AS layout
FROM pg_class c WHERE c.relkind = 'r' AND c.oid IN (SELECT oid FROM family)
""")  # noqa: S608 - made of constants
# `pg_rewrite.ev_type`, and the bits of `pg_trigger.tgtype` that say: for each row, before it, and of which statement.
_DELETES: Final[dict[str, str | int]] = {"event": "4", "before_event": 1 | 2 | 8}
_UPDATES: Final[dict[str, str | int]] = {"event": "2", "before_event": 1 | 2 | 16}


def event_of(policy: RetentionPolicy) -> dict[str, str | int]:
    """Return the parameters that say which triggers and rules are those of what is done to the rows."""
    return _DELETES if policy.deletes else _UPDATES


def layout_of(connection: AsyncConnection, policy: RetentionPolicy) -> ScalarSelect[list[str]]:
    """Return the expression of the files of a policy's table and its guards.

    After a batch's statement, both are what that has met: its lock on the table keeps them until the commit.
    """
    named = _LAYOUT.bindparams(table=qualified_name(connection, policy.table), **event_of(policy))
    return named.columns(column("layout", ARRAY(Text))).scalar_subquery()
