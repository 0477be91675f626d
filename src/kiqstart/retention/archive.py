"""Rows that are kept elsewhere: those that a batch deletes are written to another table in the same statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Table, delete, func, insert, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import PolicyError
from kiqstart.retention.row_update import ACTED, DONE
from kiqstart.retention.table import FAMILY, qualified_name

_COLUMNS: Final = text("""
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS is_required,
    a.atthasdef OR a.attidentity <> '' AS has_default, a.attgenerated <> '' AS is_generated,
    a.attidentity = 'a' AS is_identity
FROM pg_attribute a
WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
""")
_PLACE: Final = text(f"""
WITH RECURSIVE {FAMILY}
SELECT a.relkind IN ('r', 'p') AS is_table, a.oid IN (SELECT oid FROM family) AS is_itself,
    has_table_privilege(a.oid, 'INSERT') AS may_insert, current_user AS role,
    EXISTS (SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
        WHERE i.inhparent IN (SELECT oid FROM family) AND p.relkind <> 'p') AS has_heirs
FROM pg_class a WHERE a.oid = to_regclass(:archive)
""")  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class _Shape:
    type: str
    is_required: bool
    has_default: bool
    is_generated: bool
    is_identity: bool


def archive_statement(table: Table[Any], archive: Table[Any], *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Build the statement that moves rows, and says how many were deleted, and how many archived."""
    gone = delete(table).where(*where).returning(*table.columns).cte(ACTED)
    names = [column.name for column in archive.columns if column.name in gone.c and column.computed is None]
    columns: list[ColumnElement[Any]] = [gone.c[name] for name in names]
    rows: Select[*tuple[Any, ...]] = select(*columns)
    one: ColumnElement[int] = literal_column("1", Integer)
    kept = insert(archive).from_select(names, rows, include_defaults=False)
    archived = kept.returning(one.label("one")).cte(DONE)
    met, counted = (select(func.count()).select_from(cte).scalar_subquery() for cte in (gone, archived))
    return select(met, counted)


async def check_archive(connection: AsyncConnection, policy: str, table: Table[Any], archive: Table[Any]) -> None:
    """Return if a table's rows fit into another.

    Raises:
        PolicyError: they do not; the text says what differs, or what to grant.
    """
    source_name, name = qualified_name(connection, table), qualified_name(connection, archive)
    place = (await connection.execute(_PLACE, {"table": source_name, "archive": name})).one_or_none()
    if place is None or not place.is_table:
        raise PolicyError(policy, f"its archive {name} is no table of this database: create it, `kiqstart migrate`")
    if place.is_itself:
        raise PolicyError(policy, f"its archive {name} is the table itself, or a part of it")
    if place.has_heirs:
        raise PolicyError(policy, f"tables inherit from {source_name}, and columns of theirs would not be archived")
    if not place.may_insert:
        quote = connection.dialect.identifier_preparer.quote
        raise PolicyError(policy, f"the role may not archive rows: run `GRANT INSERT ON {name} TO {quote(place.role)}`")
    found = list(_differences(await _shape(connection, table), await _shape(connection, archive), table, archive))
    if found:
        raise PolicyError(policy, f"its archive {name} does not fit {source_name}: {'; '.join(found)}")


async def _shape(connection: AsyncConnection, table: Table[Any]) -> dict[str, _Shape]:
    rows = await connection.execute(_COLUMNS, {"table": qualified_name(connection, table)})
    return {
        row.name: _Shape(row.type, row.is_required, row.has_default, row.is_generated, row.is_identity) for row in rows
    }


def _differences(
    source: Mapping[str, _Shape], archive: Mapping[str, _Shape], table: Table[Any], into: Table[Any]
) -> Sequence[str]:
    found: list[str] = []
    mapped = {column.name for column in table.columns}, {column.name for column in into.columns}
    for name, column in source.items():
        its = archive.get(name)
        if its is None:
            found.append(f"column {name!r} ({column.type}) is missing there")
        elif its.type != column.type:
            found.append(f"column {name!r} is {column.type} here and {its.type} there")
        elif its.is_required and not column.is_required:
            found.append(f"column {name!r} may be NULL here and not there")
        elif its.is_identity:
            found.append(f"column {name!r} is GENERATED ALWAYS AS IDENTITY there, and so takes no value")
        elif not its.is_generated and not all(name in names for names in mapped):
            found.append(f"column {name!r} is not mapped by both classes, and so would not be archived")
    found += [
        f"column {name!r} is there alone, and needs a default or to allow NULL"
        for name, column in archive.items()
        if name not in source and column.is_required and not column.has_default
    ]
    return found
