"""Sending failed runs again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.run_resender import RunNotResentError
from kiqstart.dashboard.acting import ActPage, Question, send_each_again
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.numbers import counted
from kiqstart.operations.run_resending import FailedRuns, last_failed_run, resend

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_NOTE: Final = (
    "Each goes to its queue with its id, its tries counted anew. What it has done before it failed, it does again."
)


def resend_page() -> ActPage:
    """Sending a task again whose last run failed, or all that are meant."""
    return ActPage(path="/runs/retry", back="/runs", ask=_ask, do=_resend)


async def _ask(visit: Visit) -> Question:
    if task_id := visit.query.get("id"):
        run = await last_failed_run(visit.site.broker, task_id)
        title, hidden = f"Send the task {task_id!r} again?", {"run": run.id}
        notes = [f"{run.task or 'It'} failed: {run.error or 'no error is kept'}", _NOTE]
    else:
        failed = _failed(visit)
        runs = await failed.runs(visit.site.broker, index=visit.site.run_index, queued=visit.site.queued_tasks)
        title = f"Send {counted(len(runs), 'task')} again ({failed.described})?"
        hidden, notes = {"until": runs[-1].ended.isoformat() if runs else ""}, [_NOTE]
    return Question(title=title, button="Send again", notes=notes, hidden=hidden)


async def _resend(visit: Visit, form: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    if task_id := visit.query.get("id"):
        return await _resend_one(visit, task_id, form.get("run", ""))
    site, failed = visit.site, _failed(visit)
    until = _time(form.get("until", ""))
    # What failed since it was asked was not meant.
    runs = [run for run in await failed.runs(site.broker, index=site.run_index) if run.ended <= until]
    done, said = await send_each_again(runs, lambda run: resend(site.app, site.broker, run), "task")
    return said, [Act(kind=ActKind.RETRY_RUN, target=failed.described, detail=counted(done, "task"))] if done else []


async def _resend_one(visit: Visit, task_id: str, run_id: str) -> tuple[str, Sequence[Act]]:
    site = visit.site
    run = await last_failed_run(site.broker, task_id)
    if run.id != run_id:
        raise RunNotResentError(task_id, "it has failed once more since you were asked; look at its last run first")
    await resend(site.app, site.broker, run)
    act = Act(kind=ActKind.RETRY_RUN, target=task_id, detail="1 task")
    return f"The task {task_id!r} is sent again", [act]


def _failed(visit: Visit) -> FailedRuns:
    task, queue, since, text = (visit.query.get(name) or None for name in ("task", "queue", "since", "text"))
    argument = visit.query.get("argument")
    return FailedRuns(task=task, queue=queue, since=since, text=text, arguments=[argument] if argument else ())


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _NEVER
    return found if found.tzinfo is not None else _NEVER
