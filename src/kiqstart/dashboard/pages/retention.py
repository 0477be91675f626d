"""Retention policies, how each stands, their last runs, and running one now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Act
from kiqstart.cleanups.task import RETENTION_RUN
from kiqstart.dashboard.acting import ActPage, Question
from kiqstart.dashboard.charts import HEIGHT, WIDTH, Chart
from kiqstart.dashboard.retention_charts import charts_of_runs
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.retention import state_of_run
from kiqstart.operations.retention_policies import PolicyView, last_success, needed_task_of_policy
from kiqstart.operations.schedule_wording import shown_arguments
from kiqstart.operations.sending import NotRunError, send_task
from kiqstart.retention.errors import UnknownPolicyError
from kiqstart.retention.history import PastRun
from kiqstart.retention.policies import RetentionPolicies

_MOST_READ: Final = 200
_MOST_OF_EACH: Final = 15


@dataclass(frozen=True, kw_only=True)
class PolicySeen:
    """What is shown of a policy.

    Args:
        view: how it stands; None where that is not known, or the application has it no more.
        runs: the last ones, newest first.
        last_success: when one has last gone through all rows; None where none that is kept has.
    """

    name: str
    view: PolicyView | None
    runs: Sequence[PastRun]
    charts: Sequence[Chart]
    last_success: datetime | None

    @property
    def seconds_since_success(self) -> float | None:
        """How old the last success is; None where there is none."""
        return None if self.last_success is None else (datetime.now(UTC) - self.last_success).total_seconds()


async def retention(visit: Visit) -> Response:
    """Show each policy with its last runs; those of policies that the application has no more are below."""
    policies = visit.site.app.needs_retention()
    runs = await visit.site.looks.share("retention", lambda: _last_runs(policies))
    standings = await visit.site.policies.get()
    return visit.render(
        "retention.html",
        policies=[_seen(name, standings.views.get(name), some) for name, some in runs.items()],
        problem=standings.problem,
        chart_size=(WIDTH, HEIGHT),
        state_of_run=state_of_run,
    )


def _seen(name: str, view: PolicyView | None, runs: Sequence[PastRun]) -> PolicySeen:
    # Of more runs, and some seconds older.
    before = None if view is None else view.last_success
    return PolicySeen(
        name=name, view=view, runs=runs, charts=charts_of_runs(runs), last_success=last_success(runs) or before
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


def retention_pages() -> list[ActPage]:
    """Running a policy."""
    return [ActPage(path="/retention/run", back="/retention", ask=_ask, do=_run)]


async def _ask(visit: Visit) -> Question:
    name, task = _named(visit)
    view = (await visit.site.policies.get()).views.get(name)
    rows = "" if view is None or view.standing is None else f" About {view.standing.backlog:,} rows are to go."
    return Question(
        title=f"Run the policy {name!r} now?",
        button="Run the policy",
        notes=[f"It sends {' '.join([task, *shown_arguments((), _arguments(name, task))])}.{rows}"],
        is_final=True,
    )


async def _run(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    name, task = _named(visit)
    task_id, act = await send_task(visit.site.broker, task, (), _arguments(name, task))
    return f"The policy {name!r} is run by the task {task_id}", [act]


def _named(visit: Visit) -> tuple[str, str]:
    """The policy's name, and that of its task."""
    name = visit.query.get("policy", "")
    try:
        visit.site.app.needs_retention().named(name)
    except UnknownPolicyError as error:
        raise NotRunError(str(error)) from None
    return name, needed_task_of_policy(visit.site.app, name)


def _arguments(name: str, task: str) -> Mapping[str, object]:
    return {"policy": name} if task == RETENTION_RUN else {}
