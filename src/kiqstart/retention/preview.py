"""What a run would delete, without deleting it."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.deletion import count_rows
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.planner import choose_scan
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.transaction import limit_statements

_SECONDS_TO_COUNT: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class RetentionPreview:
    """What a run would do: how many of the table's rows (which is an estimate) it would delete, which way, and why.

    `is_estimate` says that counting would have taken too long, so `rows` is what PostgreSQL's planner expects.
    """

    policy: str
    scan: ScanKind
    reason: str
    rows: int
    is_estimate: bool
    table_rows: int


async def preview(connection: AsyncConnection, policy: RetentionPolicy) -> RetentionPreview:
    """Count for up to two seconds, else estimate. The transaction cannot go on after an estimate.

    Raises:
        PolicyError: the policy cannot be run.
    """
    choice = await choose_scan(connection, policy)
    rows, is_estimate = choice.rows, False
    await limit_statements(connection, _SECONDS_TO_COUNT)
    try:
        rows = await count_rows(connection, policy, true())
    except DBAPIError as error:
        if fault_of(error) is not Fault.SLOW:
            raise
        is_estimate = True
    return RetentionPreview(
        policy=policy.name,
        scan=choice.kind,
        reason=choice.reason,
        rows=rows,
        is_estimate=is_estimate,
        table_rows=choice.size.rows,
    )
