"""Retention policies and their last runs."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.dashboard.visits import Visit
from kiqstart.operations.retention import state_of_run
from kiqstart.retention.history import PastRun

_MOST_READ: Final = 200
_MOST_OF_EACH: Final = 10


async def retention(visit: Visit) -> Response:
    """Show each policy with its last runs; those of policies that the application has no more are below."""
    policies = visit.site.app.needs_retention()
    found = await visit.site.looks.share("retention", lambda: policies.engine.history(limit=_MOST_READ))
    names = dict.fromkeys([*(one.name for one in policies.all()), *(one.policy for one in found)])
    runs = {name: [one for one in found if one.policy == name][:_MOST_OF_EACH] for name in names}
    return visit.render("retention.html", by_policy=runs, most=most_deleted(found), state_of_run=state_of_run)


def most_deleted(runs: Sequence[PastRun]) -> int:
    """What the longest bar stands for."""
    return max((one.deleted for one in runs), default=0)
