"""Retention policies and their last runs."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.dashboard.charts import HEIGHT, WIDTH
from kiqstart.dashboard.retention_charts import charts_of_runs
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.retention import state_of_run
from kiqstart.retention.history import PastRun
from kiqstart.retention.policies import RetentionPolicies

_MOST_READ: Final = 200
_MOST_OF_EACH: Final = 15


async def retention(visit: Visit) -> Response:
    """Show each policy with its last runs; those of policies that the application has no more are below."""
    policies = visit.site.app.needs_retention()
    runs = await visit.site.looks.share("retention", lambda: _last_runs(policies))
    return visit.render(
        "retention.html",
        by_policy=runs,
        charts={name: charts_of_runs(some) for name, some in runs.items()},
        chart_size=(WIDTH, HEIGHT),
        state_of_run=state_of_run,
    )


async def _last_runs(policies: RetentionPolicies) -> Mapping[str, Sequence[PastRun]]:
    found = await policies.engine.history(limit=_MOST_READ)
    names = dict.fromkeys([*(one.name for one in policies.all()), *(one.policy for one in found)])
    runs = {name: [one for one in found if one.policy == name][:_MOST_OF_EACH] for name in names}
    for name, some in runs.items():
        # Policies that run often take the place of others.
        if len(found) == _MOST_READ and len(some) < _MOST_OF_EACH:
            runs[name] = await policies.engine.history(name, limit=_MOST_OF_EACH)
    return runs
