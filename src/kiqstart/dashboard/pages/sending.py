"""Sending a task: a form of its arguments, a question that says what will be sent, then the task's own page."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from kiqstart.broker.known_queues import queue_of_task
from kiqstart.dashboard.acting import record
from kiqstart.dashboard.call_form import CallForm
from kiqstart.dashboard.site import address
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.outlook import said_of_hindrances
from kiqstart.operations.sending import send_task, task_of


async def run_task(visit: Visit) -> Response:
    """Show the form, ask, or send what was confirmed; nothing is in an address but the task's name."""
    task = task_of(visit.site.broker, visit.query.get("name", ""))
    if visit.request.method != "POST":
        return _form(visit, CallForm.of(task, visit.query))
    form = await visit.form()
    call = CallForm.of(task, form)
    if form.get("step") == "edit":
        return _form(visit, call)
    is_confirmed = form.get("step") == "send"
    call = call.checked(with_secrets=is_confirmed)
    if any(one.problem for one in call.asked_first if not (is_confirmed and one.is_secret)):
        return _form(visit, call)
    return await (_send(visit, call, form) if is_confirmed and not call.is_wrong else _ask(visit, call, form))


def _form(visit: Visit, call: CallForm) -> Response:
    return visit.render("run_task.html", status=HTTPStatus.UNPROCESSABLE_ENTITY if call.is_wrong else 200, call=call)


async def _ask(visit: Visit, call: CallForm, form: Mapping[str, str]) -> Response:
    args, kwargs = call.call() if not call.is_wrong else ((), {})
    return visit.render(
        "confirm_task.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if call.is_wrong else 200,
        call=call,
        queue=queue_of_task(call.task),
        hindrances=await said_of_hindrances(visit.site.broker, call.task, args, kwargs),
        reason=form.get("reason", ""),
    )


async def _send(visit: Visit, call: CallForm, form: Mapping[str, str]) -> Response:
    task_id, act = await send_task(visit.site.broker, call.task.task_name, *call.call())
    visit.site.looks.forget()
    said = f"The task {call.task.task_name!r} is sent with the id {task_id}"
    return visit.go(address("/runs/task", id=task_id), said + await record(visit, [act], form.get("reason", "")))
