"""Acts: each is confirmed on a page of its own, done once, and kept in the log of acts."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from redis.exceptions import RedisError
from starlette.responses import Response

from kiqstart.broker.acts import Act, Acts, Operator
from kiqstart.broker.dead_letter import DeadLetterError
from kiqstart.broker.redis_retry import reason as summary
from kiqstart.broker.run_resender import RunNotResentError
from kiqstart.dashboard.site import address
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.numbers import counted

Sent = TypeVar("Sent")

_LONGEST_REASON: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the page of an act asks.

    Args:
        title: what would be done to what, and to how many.
        button: the same in a word or two.
        notes: what follows of it.
        hidden: what the form sends along, so that no more is done than was asked for.
        is_final: whether it cannot be undone.
    """

    title: str
    button: str
    notes: Sequence[str] = ()
    hidden: Mapping[str, str] = field(default_factory=dict[str, str])
    is_final: bool = False


@dataclass(frozen=True, kw_only=True)
class ActPage:
    """An act.

    Args:
        path: its page.
        back: the page that leads there, and that is shown when it is done.
        ask: what is asked.
        do: does it, and gives what was done, in words and for the log of acts.
    """

    path: str
    back: str
    ask: Callable[[Visit], Awaitable[Question]]
    do: Callable[[Visit, Mapping[str, str]], Awaitable[tuple[str, Sequence[Act]]]]

    async def __call__(self, visit: Visit) -> Response:
        """Ask, or do what was confirmed."""
        if visit.request.method != "POST":
            return visit.render("confirm.html", question=await self.ask(visit), back=self._back(visit))
        form = await visit.form()
        said, acts = await self.do(visit, form)
        visit.site.looks.forget()
        return visit.go(self._back(visit), said + await record(visit, acts, form.get("reason", "")))

    def _back(self, visit: Visit) -> str:
        """The page that led here: a task's, where it has said so."""
        task_id = visit.query.get("of_task", "")
        return address("/runs/task", id=task_id) if task_id else self.back


def operator_of(visit: Visit) -> Operator:
    """Who acts, as the log of acts has it."""
    return Operator(user=visit.session.user, host=f"dashboard {visit.client}".strip())


async def record(visit: Visit, acts: Sequence[Act], reason: str) -> str:
    """Keep acts that are done; gives what is to be said where they cannot be kept, else ''."""
    broker, reason = visit.site.broker, reason.strip()[:_LONGEST_REASON]
    try:
        await Acts(broker.connection.redis, broker.keys).record(acts, by=operator_of(visit), reason=reason)
    except (RedisError, OSError) as error:
        return f"; but it is not kept in the log of acts: {summary(error)}"
    return ""


async def send_each_again(
    chosen: Sequence[Sent], send: Callable[[Sent], Awaitable[object]], what: str
) -> tuple[int, str]:
    """Send each; gives how many were, and in words how many were not, and why the first of them."""
    problems: list[str] = []
    for one in chosen:
        try:
            await send(one)
        except (DeadLetterError, RunNotResentError) as error:
            problems.append(str(error))
    done = len(chosen) - len(problems)
    sent = f"{counted(done, what)} {'is' if done == 1 else 'are'} sent again"
    failed = f"; {len(problems)} {'is' if len(problems) == 1 else 'are'} not: {problems[0]}" if problems else ""
    return done, sent + failed
