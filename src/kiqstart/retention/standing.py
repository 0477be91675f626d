"""How a policy stands: what it names, how much of that there is, and what cannot go."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.dry_run import sql_of
from kiqstart.retention.planner import choose_scan
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.quarantine import Quarantine


@dataclass(frozen=True, kw_only=True)
class PolicyStanding:
    """How a policy stands.

    Args:
        predicate: which rows it names, in SQL.
        backlog: how many there are now, as PostgreSQL's statistics say: an estimate.
        quarantined: rows that could not be deleted, and are left alone for a while.
    """

    predicate: str
    backlog: int
    quarantined: int


async def read_standing(connection: AsyncConnection, policy: RetentionPolicy, quarantine: Quarantine) -> PolicyStanding:
    """Look, without counting rows.

    Raises:
        PolicyError: the policy cannot be run as it is written.
    """
    choice = await choose_scan(connection, policy)
    return PolicyStanding(
        predicate=" ".join(sql_of(policy.condition, connection).split()),
        backlog=choice.rows,
        quarantined=await quarantine.count(connection),
    )
