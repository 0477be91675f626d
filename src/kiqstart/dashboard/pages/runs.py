"""Runs that have ended, and what became of one task."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.dashboard.acting import ActPage, Question
from kiqstart.dashboard.timeline import ROW, WIDTH, timeline_of
from kiqstart.dashboard.visits import Visit
from kiqstart.errors import OperatorError
from kiqstart.operations.cancelling import cancel_task
from kiqstart.operations.progress import said_of_progress
from kiqstart.operations.run_selection import which_runs
from kiqstart.operations.runs import NONE_KEPT, read_history
from kiqstart.tasks.task_ids import InvalidTaskIdError

_MOST_SHOWN: Final = 100
_AGES: Final = ("5m", "1h", "6h", "1d")
_NAMES: Final = ("text", "task", "outcome", "queue", "since")
# A search may go through all that is kept.
_SECONDS_SHARED: Final = 5.0


class NotCancelledError(OperatorError):
    """A task cannot be cancelled."""


async def runs(visit: Visit) -> Response:
    """List the newest of those that are meant."""
    broker = visit.site.broker
    text, task, outcome, queue, since = wanted = [visit.query.get(name) or None for name in _NAMES]
    which = which_runs(text=text, task=task, outcome=outcome, queue=queue, since=since)
    is_search = any(wanted)
    redis, index = broker.connection.redis, visit.site.run_index
    # Who has come here may search next.
    index.begin(redis)
    found = await visit.site.looks.share(
        ("runs", *wanted),
        lambda: read_runs(redis, broker.keys, which, limit=_MOST_SHOWN, secrets=broker.secrets, index=index),
        seconds=_SECONDS_SHARED if is_search else 1.0,
    )
    return visit.render(
        "runs.html",
        runs=found,
        wanted=dict(zip(_NAMES, wanted, strict=True)),
        is_search=is_search,
        outcomes=list(Outcome),
        ages=_AGES,
        nothing="No such run is kept." if broker.options.runs_kept > 0 else f"Of runs that have ended, {NONE_KEPT}.",
        most=_MOST_SHOWN,
    )


async def task_runs(visit: Visit) -> Response:
    """Show what became of a task: each of its runs, and where it is now."""
    broker, task_id = visit.site.broker, visit.query.get("id", "")
    history = await visit.site.looks.share(
        ("runs of", task_id), lambda: read_history(broker, task_id, index=visit.site.run_index)
    )
    return visit.render(
        "task.html",
        task_id=task_id,
        runs=history.runs,
        now=history.now,
        problem=history.problem,
        timeline=timeline_of(history.runs),
        timeline_width=WIDTH,
        timeline_row=ROW,
        said_of_progress=said_of_progress,
    )


def cancel_page() -> ActPage:
    """Cancelling a task."""
    return ActPage(path="/runs/cancel", back="/runs", ask=_ask, do=_cancel)


async def _ask(visit: Visit) -> Question:
    return Question(
        title=f"Cancel the task {visit.query.get('id', '')!r}?",
        button="Cancel the task",
        notes=["It does not run if it waits; if it runs, it is stopped. It cannot be resumed."],
        is_final=True,
    )


async def _cancel(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    task_id = visit.query.get("id", "")
    try:
        outcome, words = await cancel_task(visit.site.broker, task_id)
    except InvalidTaskIdError as error:
        raise NotCancelledError(str(error)) from None
    acts = [] if outcome is CancelOutcome.ENDED else [Act(kind=ActKind.CANCEL_TASK, target=task_id, detail=outcome)]
    return f"The task {task_id!r} {words}", acts
