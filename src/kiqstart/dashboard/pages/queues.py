"""Queues, and what is paused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import QueueView, read_queues
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.pauses import Pausable, Pause, described, where_as_text, where_of_text
from kiqstart.dashboard.acting import ActPage, Question, operator_of
from kiqstart.dashboard.visits import Visit
from kiqstart.errors import OperatorError
from kiqstart.operations.fleet import state_of_queue
from kiqstart.operations.pausing import pauses_of, said
from kiqstart.tasks.queue_names import queue_name_problem


class InvalidNameError(OperatorError):
    """No queue or task can have this name."""


@dataclass(frozen=True, kw_only=True)
class QueuesSeen:
    """What the page shows."""

    queues: Sequence[QueueView]
    pauses: Sequence[Pause]


async def queues(visit: Visit) -> Response:
    """Show them."""
    broker = visit.site.broker
    seen = await visit.site.looks.share("queues", lambda: _read(broker))
    return visit.render("queues.html", seen=seen, said_of=said, calls_of=where_as_text, state_of_queue=state_of_queue)


def pausing_pages() -> list[ActPage]:
    """Pausing and resuming queues and tasks."""
    return [_page(kind, is_pause=is_pause) for kind in Pausable for is_pause in (True, False)]


def _page(kind: Pausable, *, is_pause: bool) -> ActPage:
    verb = "Pause" if is_pause else "Resume"

    async def ask(visit: Visit) -> Question:
        note = "Its work waits until it is resumed; nothing is lost. What runs already runs to its end."
        return Question(
            title=f"{verb} the {described(kind, _name(visit, kind), _calls(visit, kind))}?",
            button=f"{verb} the {kind}",
            notes=[note] if is_pause else [],
        )

    async def do(visit: Visit, form: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
        name, calls, pauses = _name(visit, kind), _calls(visit, kind), pauses_of(visit.site.broker)
        if not is_pause:
            await pauses.resume(kind, name, where=calls)
        else:
            reason = form.get("reason", "")
            if not await pauses.pause(kind, name, by=operator_of(visit), reason=reason, where=calls):
                return f"The {described(kind, name, calls)} was paused already", []
        word = "paused" if is_pause else "resumed"
        detail = " ".join(f"{argument}={text}" for argument, text in calls.items())
        act = Act(kind=ActKind(f"{verb.lower()}-{kind}"), target=name, detail=detail)
        return f"The {described(kind, name, calls)} is {word}", [act]

    return ActPage(path=f"/{kind}s/{verb.lower()}", back="/queues", ask=ask, do=do)


def _name(visit: Visit, kind: Pausable) -> str:
    name = visit.query.get("name", "")
    problem = queue_name_problem(name) if kind is Pausable.QUEUE else None if name else "no task has this name"
    if problem is not None:
        raise InvalidNameError(f"{name[:200]!r}: {problem}")
    return name


def _calls(visit: Visit, kind: Pausable) -> Mapping[str, str]:
    """Which calls of the task are meant, as the page of queues names them."""
    text = visit.query.get("calls", "")
    found = where_of_text(text)
    if text and (not found or kind is Pausable.QUEUE):
        raise InvalidNameError("no calls of a task can be meant by that")
    return found


async def _read(broker: StreamBroker) -> QueuesSeen:
    return QueuesSeen(
        queues=await read_queues(broker, [*broker.queues, *queues_of_tasks(broker)]),
        pauses=await pauses_of(broker).all(),
    )
