"""What a run would do, in PostgreSQL's words: the statement of its first batch, its plan, and some of the rows."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Text, select, text
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ClauseElement

from kiqstart.retention.action import action_statement
from kiqstart.retention.expired_partitions import expired_partitions, has_other_rows
from kiqstart.retention.explain import explain_in_words
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.pace import FIRST_ROWS
from kiqstart.retention.planner import choose_scan
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.target import outer_elements
from kiqstart.retention.transaction import limit_statements

_SECONDS_TO_LOOK: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a run would do.

    Args:
        partitions: whole partitions that would be detached or dropped, with about how many rows.
        statement: that of the first batch, with its values; None if there is nothing to do.
        plan: PostgreSQL's plan for it, a line each.
        sample: some of the rows, as text: their key, the cursor, and the columns that the predicate names. None if none
            was found in two seconds.
    """

    partitions: tuple[str, ...]
    statement: str | None
    plan: tuple[str, ...]
    sample: tuple[dict[str, str | None], ...] | None


async def dry_run(connection: AsyncConnection, policy: RetentionPolicy, *, sample: int) -> DryRun:
    """Look, in a transaction that can write nothing. It cannot go on after a sample that took too long.

    Raises:
        PolicyError: the policy cannot be run.
    """
    await connection.execute(text("SET TRANSACTION READ ONLY"))
    choice = await choose_scan(connection, policy)
    scan = choice.scan(policy, choice.kind, choice.size)
    whole = await scan.whole(connection)
    statement, plan = None, list[str]()
    if whole is not None:
        cut = await scan.advance(connection, whole, FIRST_ROWS)
        batch = action_statement(policy, scan.where(cut.batch))
        statement = sql_of(batch, connection)
        plan = await explain_in_words(connection, batch)
    partitions = await expired_partitions(connection, policy) if policy.partitions else []
    return DryRun(
        partitions=tuple([str(one) for one in partitions if not await has_other_rows(connection, policy, one)]),
        statement=statement,
        plan=tuple(plan),
        sample=await _sample(connection, policy, sample),
    )


async def _sample(
    connection: AsyncConnection, policy: RetentionPolicy, rows: int
) -> tuple[dict[str, str | None], ...] | None:
    own = policy.table.columns
    named: list[Column[Any]] = [
        one for one in outer_elements(policy.condition) if isinstance(one, Column) and own.contains_column(one)
    ]
    # Not all of a row, which may have secrets.
    names = dict.fromkeys(column.name for column in (*policy.primary_key, *policy.key, *named))
    await limit_statements(connection, _SECONDS_TO_LOOK)
    found = select(*(sql_cast(own[name], Text).label(name) for name in names)).where(policy.rows).limit(rows)
    try:
        return tuple(dict(row._mapping) for row in await connection.execute(found))  # noqa: SLF001 - SQLAlchemy's API
    except DBAPIError as error:
        if fault_of(error) is not Fault.SLOW:
            raise
        return None


def sql_of(statement: ClauseElement, connection: AsyncConnection) -> str:
    """A statement, or a part of one, in SQL, with its values."""
    try:
        return str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    except (CompileError, NotImplementedError):
        # A value of a type that SQLAlchemy does not write into SQL.
        compiled = statement.compile(dialect=connection.dialect)
        values = ", ".join(f"{name} = {value!r}" for name, value in (compiled.params or {}).items())
        return f"{compiled} -- {values}"
