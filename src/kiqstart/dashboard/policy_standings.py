"""How an application's retention policies stand, as far as PostgreSQL lets the dashboard see that."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from kiqstart.app import App
from kiqstart.operations.database_checks import said_by_database
from kiqstart.operations.retention_policies import PolicyView, read_policies
from kiqstart.retention.errors import RetentionError


@dataclass(frozen=True, kw_only=True)
class PolicyStandings:
    """How the policies stand.

    Args:
        views: by name.
        problem: why that is not known; '' where it is.
    """

    views: Mapping[str, PolicyView] = field(default_factory=dict[str, PolicyView])
    problem: str = ""


async def read_standings(app: App) -> PolicyStandings:
    """Read them; a role that may read no more than the runs sees these alone."""
    try:
        return PolicyStandings(views={one.policy.name: one for one in await read_policies(app)})
    except (RetentionError, SQLAlchemyError, OSError) as error:
        return PolicyStandings(problem=said_by_database(error))
