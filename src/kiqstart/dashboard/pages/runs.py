"""Runs that have ended, tasks that have not, and what became of one task."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.outstanding import read_outstanding
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.broker.whereabouts import Place
from kiqstart.dashboard.acting import ActPage, Question
from kiqstart.dashboard.looks import SECONDS
from kiqstart.dashboard.timeline import ROW, WIDTH, timeline_of
from kiqstart.dashboard.visits import Visit
from kiqstart.errors import OperatorError
from kiqstart.operations.cancelling import cancel_task
from kiqstart.operations.outstanding import said_of_rest
from kiqstart.operations.progress import said_of_progress
from kiqstart.operations.run_selection import by_parameters, parse_state, which_runs
from kiqstart.operations.runs import NONE_KEPT, read_history_with_acts
from kiqstart.tasks.task_ids import InvalidTaskIdError

_MOST_SHOWN: Final = 100
_AGES: Final = ("5m", "1h", "6h", "1d")
_NAMES: Final = ("text", "task", "queue", "argument", "since")
# Of tasks that have not ended; the command line looks at more.
_MOST_LOOKED_AT: Final = 1000
# A search may go through all that is kept.
_SECONDS_SHARED: Final = 5.0


class NotCancelledError(OperatorError):
    """A task cannot be cancelled."""


async def runs(visit: Visit) -> Response:
    """List the newest runs of those that are meant, or tasks that have not ended."""
    # Runs that have ended are in a state, too: how they ended.
    state = visit.query.get("state") or visit.query.get("outcome") or None
    wanted = {"state": state, **{name: visit.query.get(name) or None for name in _NAMES}}
    place = parse_state(state, since=wanted["since"]) if state in list(Place) else None
    return await (_ended(visit, wanted) if place is None else _outstanding(visit, wanted, place))


async def _ended(visit: Visit, wanted: Mapping[str, str | None]) -> Response:
    broker = visit.site.broker
    which = by_parameters(_which(wanted, outcome=wanted["state"]), broker)
    is_search = any(wanted.values())
    redis, index = broker.connection.redis, visit.site.run_index
    # Who has come here may search next.
    index.begin(redis)
    found = await visit.site.looks.share(
        ("runs", *wanted.values()),
        lambda: read_runs(redis, broker.keys, which, limit=_MOST_SHOWN, secrets=broker.secrets, index=index),
        seconds=_SECONDS_SHARED if is_search else SECONDS,
    )
    kept = "No such run is kept." if broker.options.runs_kept > 0 else f"Of runs that have ended, {NONE_KEPT}."
    return _page(visit, "runs.html", wanted, runs=found, is_search=is_search, nothing=kept)


async def _outstanding(visit: Visit, wanted: Mapping[str, str | None], place: Place) -> Response:
    broker = visit.site.broker
    which = by_parameters(_which(wanted), broker)
    is_search = any(value for name, value in wanted.items() if name not in ("state", "queue"))
    found = await visit.site.looks.share(
        ("outstanding", *wanted.values()),
        lambda: read_outstanding(broker, place, which, limit=_MOST_SHOWN, most=_MOST_LOOKED_AT),
        seconds=_SECONDS_SHARED if is_search else SECONDS,
    )
    return _page(
        visit,
        "outstanding.html",
        wanted,
        tasks=found.tasks,
        is_search=is_search,
        place=place,
        rest=said_of_rest(place, found),
        said_of_progress=said_of_progress,
    )


def _which(wanted: Mapping[str, str | None], outcome: str | None = None) -> RunFilter:
    argument = wanted["argument"]
    return which_runs(
        text=wanted["text"],
        task=wanted["task"],
        outcome=outcome,
        queue=wanted["queue"],
        since=wanted["since"],
        arguments=() if argument is None else [argument],
    )


def _page(visit: Visit, template: str, wanted: Mapping[str, str | None], **values: object) -> Response:
    filters = {"wanted": wanted, "outcomes": list(Outcome), "places": list(Place), "ages": _AGES}
    return visit.render(template, status=200, **filters, **values)


async def task_runs(visit: Visit) -> Response:
    """Show what became of a task: each of its runs, and where it is now."""
    broker, task_id = visit.site.broker, visit.query.get("id", "")
    history = await visit.site.looks.share(
        ("runs of", task_id),
        lambda: read_history_with_acts(broker, task_id, index=visit.site.run_index),
    )
    return visit.render(
        "task.html",
        task_id=task_id,
        runs=history.runs,
        now=history.now,
        problem=history.problem,
        acts=history.acts,
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
