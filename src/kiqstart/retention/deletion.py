"""The statements of a batch."""

from typing import Final

from sqlalchemy import ColumnElement, Text, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import act
from kiqstart.retention.heap import TupleId, ctid, tableoid
from kiqstart.retention.policy import RetentionPolicy

# A place that no row can have: beyond the last page there may be.
_NOWHERE: Final = cast(literal("(4294967294,0)", Text), TupleId())


async def delete_range(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    """Delete (or archive, or update) all of the policy's rows of a stretch, and return how many they were."""
    return await act(connection, policy, where)


async def delete_unlocked(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], *, limit: int | None
) -> int:
    """Delete the policy's rows of a stretch that nobody holds a lock on, at most so many, and return how many."""
    free = (
        select(tableoid, ctid)
        .select_from(policy.table)
        .where(where, policy.row_filter)
        .limit(limit)
        .with_for_update(skip_locked=True, of=policy.table)
        # The same table again, which does not mean the row outside.
        .correlate(None)
    )
    # The place alone would name a row of each partition.
    return await delete_range(connection, policy, where & tuple_(tableoid, ctid).in_(free))


async def delete_nothing(connection: AsyncConnection, policy: RetentionPolicy) -> None:
    """Do to no row what is done to the policy's rows."""
    await act(connection, policy, ctid == _NOWHERE)


async def count_rows(connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool]) -> int:
    """Count the policy's rows of a stretch."""
    counted = select(func.count()).select_from(policy.table).where(where, policy.row_filter)
    return (await connection.execute(counted)).scalar_one()
