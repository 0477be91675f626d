"""Finds out which rows of a small batch cannot be deleted, and why, and deletes the others.

The server tries each row by itself and takes it back again, so that one transaction tells all that can be known of some
hundred rows; then those that can go do so in one statement. A row that others of the batch refer to goes after them.
"""

import json
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Text, cast, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import act
from kiqstart.retention.deletion import count_rows
from kiqstart.retention.faults import NOT_OF_A_ROW, Fault, fault_of, fault_of_state, first_line
from kiqstart.retention.heap import ctid, is_at, tableoid
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.report import FailureGroup, FailureKey, plain_key
from kiqstart.retention.table import qualified_name

# An error of no row's, as that of a missing right, is raised again.
_TRY: Final = """
DO $try$
DECLARE
    one record;
    refused jsonb := '[]';
BEGIN
    FOR one IN SELECT * FROM jsonb_to_recordset(current_setting('kiqstart.rows')::jsonb) AS r(n int, t oid, c tid) LOOP
        BEGIN
            DELETE FROM {table} WHERE ctid = one.c AND tableoid = one.t;
            RAISE SQLSTATE 'KQ000';
        EXCEPTION
            WHEN SQLSTATE 'KQ000' THEN NULL;
            WHEN OTHERS THEN
                IF left(SQLSTATE, 2) IN ({no_rows}) THEN RAISE; END IF;
                refused := refused || jsonb_build_array(jsonb_build_array(one.n, SQLSTATE, SQLERRM));
        END;
    END LOOP;
    PERFORM set_config('kiqstart.refused', refused::text, true);
END $try$
"""
_REFUSED: Final = TypeAdapter(list[tuple[int, str, str]])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be deleted: its group and its key in a report, its key as text, and the database's words."""

    group: FailureKey
    key: FailureKey
    key_text: str
    error: str

    @property
    def failure(self) -> FailureGroup:
        """What the report has of it."""
        return FailureGroup(self.group, self.key, self.error, 1)


@dataclass(frozen=True, slots=True)
class Sifted:
    """How many rows went, how many are locked, and which cannot go."""

    deleted: int
    locked: int
    refused: tuple[Refusal, ...]
    # Whether all were tried, and not so many deleted as may go.
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class LockedRow:
    """A row that this transaction has locked: its partition and place, and its names."""

    table: int
    place: str
    key_text: str
    group: FailureKey
    key: FailureKey


async def sift(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], *, limit: int | None
) -> Sifted:
    """Delete what can go of a stretch of some hundred rows, at most so many.

    Raises:
        sqlalchemy.exc.DBAPIError: an error that no row is to blame for.
    """
    # What is checked at the end of a transaction would not be known before.
    await connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    left = await lock_rows(connection, policy, where)
    locked = await count_rows(connection, policy, where) - len(left)
    deleted, refused = 0, list[tuple[LockedRow, str, str]]()
    while left:
        refused = await _refused(connection, policy, left)
        stay = {id(row) for row, *_ in refused}
        going = [row for row in left if id(row) not in stay]
        if limit is not None and deleted + len(going) >= limit:
            deleted += await _delete(connection, policy, going[: limit - deleted])
            return Sifted(deleted, 0, (), is_complete=False)
        deleted += await _delete(connection, policy, going) if going else 0
        # Those that rows of this batch referred to may go now.
        left = [row for row, *_ in refused] if going else []
    held = sum(fault_of_state(state) is Fault.LOCKED for _, state, _ in refused)
    return Sifted(
        deleted,
        locked + held,
        tuple(
            Refusal(row.group, row.key, row.key_text, error.partition("\n")[0])
            for row, state, error in refused
            if fault_of_state(state) is not Fault.LOCKED
        ),
    )


async def lock_rows(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]
) -> list[LockedRow]:
    """Lock the policy's rows of a small stretch that nobody else has locked."""
    group = policy.columns(policy.error_key)
    named = tuple(dict.fromkeys((*group, *policy.primary_key)))
    place = (tableoid, cast(ctid, Text), key_text(policy))
    rows = await connection.execute(
        select(*place, *named).where(where, policy.row_filter).with_for_update(skip_locked=True, of=policy.table)
    )
    found: list[LockedRow] = []
    # As many columns as the key has.
    for row in typing.cast("Iterable[tuple[Any, ...]]", rows):
        key = {one.name: plain_key(value) for one, value in zip(named, row[len(place) :], strict=True)}
        found.append(LockedRow(row[0], row[1], row[2], {one.name: key[one.name] for one in group} or key, key))
    return found


def key_text(policy: RetentionPolicy) -> ColumnElement[str]:
    """Return the expression of a row's primary key as one text."""
    return cast(func.row(*policy.primary_key), Text)


async def _refused(
    connection: AsyncConnection, policy: RetentionPolicy, rows: Sequence[LockedRow]
) -> list[tuple[LockedRow, str, str]]:
    if policy.archive_table is not None or policy.update is not None:
        return [one for row in rows if (one := await _refused_alone(connection, policy, row)) is not None]
    places = json.dumps([{"n": number, "t": row.table, "c": row.place} for number, row in enumerate(rows)])
    await connection.execute(select(func.set_config("kiqstart.rows", places, text("true"))))
    no_rows = ", ".join(f"'{state}'" for state in sorted(NOT_OF_A_ROW))
    statement = _TRY.format(table=qualified_name(connection, policy.table), no_rows=no_rows)
    await connection.exec_driver_sql(statement)
    said: str = (await connection.execute(select(func.current_setting("kiqstart.refused")))).scalar_one()
    return [(rows[number], state, error) for number, state, error in _REFUSED.validate_json(said)]


async def _refused_alone(
    connection: AsyncConnection, policy: RetentionPolicy, row: LockedRow
) -> tuple[LockedRow, str, str] | None:
    """Try a row whose statement has parameters, and take it back."""
    attempt = await connection.begin_nested()
    try:
        await _delete(connection, policy, [row])
    except DBAPIError as error:
        state: str = getattr(error.driver_exception, "sqlstate", None) or ""
        if fault_of(error) not in {Fault.OF_A_ROW, Fault.LOCKED}:
            raise
        return row, state, first_line(error)
    finally:
        await attempt.rollback()
    return None


async def _delete(connection: AsyncConnection, policy: RetentionPolicy, rows: Sequence[LockedRow]) -> int:
    return await act(connection, policy, is_at([(row.table, row.place) for row in rows]))
