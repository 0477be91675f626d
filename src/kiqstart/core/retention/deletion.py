"""The statements of a batch."""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, column, func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.action import act
from kiqstart.core.retention.page_walk import ctid
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.report import FailureKey

# Limits of this transaction alone. Each batch is planned for its own bounds, as a generic plan is made for none, and
# never compiled, which would cost more than it saves. A batch does not wait for the disk: the state is in the same
# transaction, so what a crash takes back is done again; a piece's end waits for all that was written before it. With
# `row_security` off, rows that are hidden from the role are an error instead of being kept without a word.
_CONFIGURE: Final = text("""
SELECT set_config('statement_timeout', :statement_timeout, true), set_config('lock_timeout', :lock_timeout, true),
    set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
    set_config('DateStyle', 'ISO', true), set_config('synchronous_commit', 'off', true),
    set_config('idle_in_transaction_session_timeout', :idle_timeout, true), set_config('row_security', 'off', true)
""")
_SET_STATEMENT_TIMEOUT: Final = text("SELECT set_config('statement_timeout', :statement_timeout, true)")
_TABLEOID: Final[ColumnElement[int]] = column("tableoid")


async def limit_transaction(
    connection: AsyncConnection, *, statement_timeout: float, lock_timeout: float, idle_timeout: float
) -> None:
    """Set this transaction's timeouts, in seconds. After the last, the server ends what a frozen process has begun."""
    parameters = {
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(lock_timeout),
        "idle_timeout": _milliseconds(idle_timeout),
    }
    await connection.execute(_CONFIGURE, parameters)


async def limit_statement(connection: AsyncConnection, seconds: float) -> None:
    """Set the timeout of the statements that follow."""
    await connection.execute(_SET_STATEMENT_TIMEOUT, {"statement_timeout": _milliseconds(seconds)})


async def delete_range(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    """Delete (or archive, or update) all of the policy's rows of a stretch, and return how many they were."""
    return await act(connection, policy, where)


async def delete_unlocked(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], *, limit: int | None
) -> int:
    """Delete the policy's rows of a stretch that nobody holds a lock on, at most so many, and return how many."""
    free = (
        select(_TABLEOID, ctid)
        .select_from(policy.table)
        .where(where, policy.rows)
        .limit(limit)
        .with_for_update(skip_locked=True, of=policy.table)
        # The same table again, which does not mean the row outside.
        .correlate(None)
    )
    # The place alone would name a row of each partition.
    return await delete_range(connection, policy, where & tuple_(_TABLEOID, ctid).in_(free))


async def count_rows(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    """Count the policy's rows of a stretch."""
    counted = select(func.count()).select_from(policy.table).where(where, policy.rows)
    return (await connection.execute(counted)).scalar_one()


async def list_rows(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]
) -> list[tuple[ColumnElement[bool], FailureKey, FailureKey]]:
    """Return each of the policy's rows of a small stretch: its condition, its group and its key in a report."""
    group = policy.columns(policy.error_key)
    columns = tuple(dict.fromkeys((*group, *policy.primary_key)))
    rows = await connection.execute(select(*columns).where(where, policy.rows))
    found: list[tuple[ColumnElement[bool], FailureKey, FailureKey]] = []
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        is_it = and_(*(column == literal(values[column], column.type) for column in policy.primary_key))
        key = {column.name: _plain(value) for column, value in values.items()}
        found.append((is_it, {column.name: key[column.name] for column in group} or key, key))
    return found


def _plain(value: Any) -> str | int:  # noqa: ANN401 - a key column may have any type
    return value if isinstance(value, int) else str(value)


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
