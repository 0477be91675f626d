"""Dead letters."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.dashboard.acting import ActPage, Question, send_each_again
from kiqstart.dashboard.visits import Visit
from kiqstart.operations.dead_letters import find_letter, indented, read_letters
from kiqstart.operations.dead_selection import Filters, check_reason, parse_age
from kiqstart.operations.letter_index import letter_order
from kiqstart.operations.numbers import counted

_MOST_SHOWN: Final = 100
# All letters are gone through to count them.
_SECONDS_SHARED: Final = 5.0
_AGES: Final = ("1h", "1d", "7d")


async def dead(visit: Visit) -> Response:
    """List the newest of those that are meant, with totals by task and reason."""
    site, filters = visit.site, _filters(visit)
    found = await site.looks.share(
        ("dead", filters),
        lambda: read_letters(site.broker.dead_letters, filters, limit=_MOST_SHOWN, index=site.letter_index),
        seconds=_SECONDS_SHARED,
    )
    return visit.render(
        "dead.html",
        found=found,
        totals=sorted(found.totals.items(), key=lambda one: -one[1]),
        meant=sum(found.totals.values()),
        filters=filters,
        reasons=list(DeadLetterReason),
        ages=_AGES,
    )


async def letter(visit: Visit) -> Response:
    """Show all of one."""
    letters = visit.site.broker.dead_letters
    found = await find_letter(letters, visit.query.get("id", ""), index=visit.site.letter_index)
    message = indented(letters.shown_message(found)) if found.data else "-"
    return visit.render("letter.html", letter=found, message=message)


def dead_pages() -> list[ActPage]:
    """Sending letters again, and dropping them."""
    return [
        ActPage(path="/dead/retry", back="/dead", ask=_ask_retry, do=_retry),
        ActPage(path="/dead/purge", back="/dead", ask=_ask_purge, do=_purge),
    ]


async def _ask_retry(visit: Visit) -> Question:
    what, newest = await _meant(visit)
    return Question(
        title=f"Send {what} again?",
        button="Send again",
        notes=["Each goes to its queue with its tries counted anew, and is no dead letter any more."],
        hidden={"newest": newest},
    )


async def _ask_purge(visit: Visit) -> Question:
    what, newest = await _meant(visit)
    return Question(
        title=f"Drop {what}?",
        button="Drop for ever",
        notes=["What is dropped cannot be had back."],
        hidden={"newest": newest},
        is_final=True,
    )


async def _retry(visit: Visit, form: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    target, chosen = _target(visit), await _chosen(visit, form.get("newest", ""))
    done, said = await send_each_again(chosen, visit.site.broker.dead_letters.retry, "dead letter")
    return said, [Act(kind=ActKind.RETRY_DEAD, target=target, detail=counted(done, "letter"))] if done else []


async def _purge(visit: Visit, form: Mapping[str, str]) -> tuple[str, Sequence[Act]]:
    done = await visit.site.broker.dead_letters.purge_many(await _chosen(visit, form.get("newest", "")))
    act = Act(kind=ActKind.PURGE_DEAD, target=_target(visit), detail=counted(done, "letter"))
    return f"{counted(done, 'dead letter')} {'is' if done == 1 else 'are'} dropped", [act] if done else []


async def _meant(visit: Visit) -> tuple[str, str]:
    """What an act is about, with how many that are, and the newest of them."""
    site = visit.site
    if name := visit.query.get("id"):
        found = await find_letter(site.broker.dead_letters, name, index=site.letter_index)
        return f"the dead letter {found.id} of {found.task_name or 'no task'}", found.id
    ids = await _filters(visit).ids(site.letter_index)
    return f"{counted(len(ids), 'dead letter')} ({_filters(visit).described})", ids[-1] if ids else "0-0"


async def _chosen(visit: Visit, newest: str) -> list[str]:
    """The letters that were named when it was asked: those that came since are left."""
    site = visit.site
    if name := visit.query.get("id"):
        return [(await find_letter(site.broker.dead_letters, name, index=site.letter_index)).id]
    last = letter_order(newest)
    return [one for one in await _filters(visit).ids(site.letter_index) if letter_order(one) <= last]


def _filters(visit: Visit) -> Filters:
    task, reason, age = (visit.query.get(name) or None for name in ("task", "reason", "older_than"))
    check_reason(reason)
    if age is not None:
        parse_age(age)
    return Filters(task=task, reason=reason, older_than=age)


def _target(visit: Visit) -> str:
    return visit.query.get("id") or _filters(visit).described
