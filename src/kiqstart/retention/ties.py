"""Rows that are equal in a cursor's first column, more of them than a batch takes."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Text, cast, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.heap import ctid
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.transaction import limit_statements

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
    connection: AsyncConnection, policy: RetentionPolicy, where: ColumnElement[bool], *, batch: int, most: int
) -> Ties | None:
    """Look once at all of them; None if they are more than `most`, or too many to look at in a second."""
    few = max(_FEW_BATCHES * batch, _FEW_ROWS)
    ties = select(ctid.label("place")).select_from(policy.table).where(where).limit(max(few, most) + 1).subquery()
    first, last = (cast(of(ties.c.place), Text) for of in (func.min, func.max))
    attempt = await connection.begin_nested()
    try:
        await limit_statements(connection, _SECONDS_TO_LOOK)
        rows, begin, end = (await connection.execute(select(func.count(), first, last).select_from(ties))).one()
    except DBAPIError as error:
        if fault_of(error) is not Fault.SLOW:
            raise
        return None
    finally:
        # The batch's own limit holds again.
        await attempt.rollback()
    return None if rows > max(few, most) else Ties(rows, begin or "", end or "", are_few=rows <= few)
