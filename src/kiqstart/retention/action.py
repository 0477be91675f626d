"""What is done to the policy's rows: a DELETE, a DELETE that archives them, or an UPDATE."""

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Integer, Select, delete, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.archive import archive_statement, check_archive
from kiqstart.retention.cost import BatchCost, measure
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.explain import explain
from kiqstart.retention.faults import refused_by_server
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.row_update import ACTED, DONE, not_done

_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)


def action_statement(policy: RetentionPolicy, *where: ColumnElement[bool]) -> Delete | Select[*tuple[Any, ...]]:
    """Build the statement for those of the policy's rows that meet some conditions."""
    conditions = (*where, policy.row_filter)
    if policy.update is not None:
        return policy.update.statement(policy.model, *conditions)
    if policy.archive_table is not None:
        return archive_statement(policy.table, policy.archive_table, *conditions)
    return delete(policy.table).where(*conditions)


def counted_action(policy: RetentionPolicy, *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Build the statement so that it says how many rows it met, and to how many it was done."""
    statement = action_statement(policy, *where)
    if isinstance(statement, Select):
        return statement
    gone = statement.returning(_ONE.label("one")).cte("gone")
    count = select(func.count()).select_from(gone).scalar_subquery()
    return select(count, count)


async def act(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    """Do it, and return how many rows it was done to.

    Raises:
        PolicyError: a trigger or a rule has let it happen to fewer rows; the transaction must be rolled back.
    """
    statement = action_statement(policy, where)
    if isinstance(statement, Delete):
        return (await connection.execute(statement)).rowcount
    rows, done = (await connection.execute(statement)).one()
    return confirm(policy, rows, done)


async def act_measured(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]
) -> tuple[int, BatchCost]:
    """Do it, and return what it cost, too; it takes half as long again.

    Raises:
        PolicyError: as above.
    """
    statement = action_statement(policy, where)
    if isinstance(statement, Delete):
        # Rows that a trigger keeps are not among those returned.
        measured = await measure(connection, statement.returning(_ONE))
        rows = measured.rows_of[""]
    else:
        measured = await measure(connection, statement)
        rows = confirm(policy, measured.rows_of[ACTED], measured.rows_of[DONE])
    return rows, replace(measured.cost, rows=rows)


def confirm(policy: RetentionPolicy, rows: int, done: int) -> int:
    """Return the number of rows that it was done to.

    Raises:
        PolicyError: a trigger or a rule has let it happen to fewer rows; the transaction must be rolled back.
    """
    if rows == done:
        return rows
    if policy.update is not None:
        raise not_done(policy.name)
    raise PolicyError(
        policy.name, f"its archive took only {done:,} of {rows:,} rows, so none was deleted: look for a trigger on it"
    )


async def check_action(connection: AsyncConnection, policy: RetentionPolicy) -> None:
    """Return if the action can be done, as far as can be said before.

    Raises:
        PolicyError: it cannot.
    """
    if policy.archive_table is not None:
        await check_archive(connection, policy.name, policy.table, policy.archive_table)
    with refused_by_server(policy.name):
        if policy.update is not None:
            await policy.update.check_done(connection, policy.name, policy.model, policy.rows)
        if policy.update is not None or policy.archive_table is not None:
            # What PostgreSQL has against it: a generated column, a rule on the archive.
            await explain(connection, action_statement(policy))
