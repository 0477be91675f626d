"""Rows that are equal in a cursor's first column, more of them than a batch takes."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Text, cast, func, select, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.faults import Fault, fault_of
from kiqstart.core.retention.heap import ctid
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.transaction import limit_statements

# Up to so many batches or rows, to sort them for each costs less than to look where they lie.
_FEW_BATCHES: Final = 2
_FEW_ROWS: Final = 1_000
_SECONDS_TO_LOOK: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ties:
    """How many they are, and the first and the last of their places in the heap."""

    rows: int
    first: str
    last: str
    are_few: bool


async def find_ties(
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], batch: int
) -> Ties | None:
    """Look once at all of them; None if there are too many for that."""
    most = max(_FEW_BATCHES * batch, _FEW_ROWS)
    few = select(ctid.label("place")).select_from(policy.table).where(where).limit(most + 1).subquery()
    rows = (await connection.execute(select(func.count()).select_from(few))).scalar_one()
    if rows <= most:
        return Ties(rows, "", "", are_few=True)
    counted = select(func.count(), cast(func.min(ctid), Text), cast(func.max(ctid), Text))
    timeout = func.current_setting("statement_timeout")
    before = await connection.scalar(select(timeout))
    try:
        async with connection.begin_nested():
            await limit_statements(connection, _SECONDS_TO_LOOK)
            found = (await connection.execute(counted.select_from(policy.table).where(where))).one()
            await connection.execute(select(func.set_config("statement_timeout", before, true())))
    except DBAPIError as error:
        if fault_of(error) is not Fault.SLOW:
            raise
        return None
    # None: somebody else has deleted them since.
    return Ties(found[0], found[1] or "", found[2] or "", are_few=not found[0])
