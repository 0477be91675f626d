"""Schedules."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Act, ActKind
from kiqstart.dashboard.acting import ActPage, Question
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.schedule_wording import shown_arguments, shown_timing
from kiqstart.operations.schedulers import missing_scheduler
from kiqstart.operations.schedules import read_schedules, send_now, shown_counts, shown_last, shown_next, who_paused
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.occurrence import time_text
from kiqstart.scheduler.schedules import Schedules, of_table
from kiqstart.scheduler.source import DurableScheduleSource

_MOST_ADDED: Final = 100


async def schedules(visit: Visit) -> Response:
    """Show all of the table, and some of those that were added."""
    broker = visit.site.broker
    found, results = await visit.site.looks.share("schedules", lambda: read_schedules(broker, _MOST_ADDED))
    paused = [one for one in (*found.table, *found.added) if one.is_paused]
    return visit.render(
        "schedules.html",
        paused=await visit.site.looks.share("paused schedules", lambda: who_paused(broker, paused)),
        found=found,
        schedules=[*found.table, *found.added],
        results=results,
        counts=shown_counts(found),
        problem=missing_scheduler(found.heartbeats),
        shown_last=shown_last,
        shown_next=shown_next,
        shown_timing=shown_timing,
        shown_arguments=shown_arguments,
        most=_MOST_ADDED,
    )


def schedule_pages() -> list[ActPage]:
    """Pausing, resuming, running and removing schedules."""
    pages = (
        ("Pause", "It is not due until it is resumed. What it misses meanwhile is not caught up.", _pause),
        ("Resume", "It is due again at its next time.", _resume),
        ("Run", "Its task is sent now, beside its own times.", _run),
    )
    return [
        *(
            ActPage(path=f"/schedules/{verb.lower()}", back="/schedules", ask=_question(verb, note), do=do)
            for verb, note, do in pages
        ),
        ActPage(path="/schedules/remove", back="/schedules", ask=_ask_remove, do=_remove),
    ]


async def _ask_remove(visit: Visit) -> Question:
    name = _name(visit)
    try:
        definition = (await _schedules(visit).get(name)).definition
        if not definition.is_dynamic:
            raise of_table(name)
        note = _said_of_call(definition)
    except ScheduleError:
        found, _ = await read_schedules(visit.site.broker, _MOST_ADDED)
        if name not in found.unreadable:
            raise
        note = "It cannot be read."
    return Question(
        title=f"Remove the schedule {name!r}?",
        button="Remove the schedule",
        notes=[note, "It is due no more. Only who added it can add it again."],
        is_final=True,
    )


async def _remove(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    name = _name(visit)
    await _schedules(visit).remove(name)
    return f"The schedule {name!r} is removed", [Act(kind=ActKind.REMOVE_SCHEDULE, target=name)]


def _question(verb: str, note: str) -> Callable[[Visit], Awaitable[Question]]:
    async def ask(visit: Visit) -> Question:
        state = await _schedules(visit).get(_name(visit))
        definition = state.definition
        return Question(
            title=f"{verb} the schedule {definition.name!r}{' now' if verb == 'Run' else ''}?",
            button=f"{verb} the schedule",
            notes=[_said_of_call(definition), note],
        )

    return ask


async def _pause(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    name = _name(visit)
    await _schedules(visit).pause(name)
    return f"The schedule {name!r} is paused", [Act(kind=ActKind.PAUSE_SCHEDULE, target=name)]


async def _resume(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    name = _name(visit)
    due = time_text(await _schedules(visit).resume(name))
    return f"The schedule {name!r} is due at {due}", [Act(kind=ActKind.RESUME_SCHEDULE, target=name)]


async def _run(visit: Visit, _: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    name = _name(visit)
    task_id = await send_now(_schedules(visit), name)
    act = Act(kind=ActKind.RUN_SCHEDULE, target=name, detail=task_id)
    return f"The schedule {name!r} has sent its task with the id {task_id}", [act]


def _said_of_call(definition: ScheduleDefinition) -> str:
    call = " ".join([definition.task, *shown_arguments(definition.args, definition.kwargs)])
    return f"It sends {call}, {shown_timing(definition.timing)}."


def _schedules(visit: Visit) -> Schedules:
    return DurableScheduleSource(visit.site.broker).schedules


def _name(visit: Visit) -> str:
    return visit.query.get("name", "")
