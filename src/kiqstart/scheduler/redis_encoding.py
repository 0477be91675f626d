"""Schedules and steps as they travel to Redis' scripts and lie in Redis."""

import hashlib
from collections.abc import Iterable, Sequence

from redis.exceptions import ResponseError

from kiqstart.broker.redis_text import raw_name, text_of_name
from kiqstart.redis.commands import Value
from kiqstart.scheduler.due import DueMark, DuePage, Poll
from kiqstart.scheduler.firing import FireRequest, FireResult, Outcome
from kiqstart.scheduler.occurrence import ms_of_score
from kiqstart.scheduler.store import (
    Entry,
    LastStep,
    StoredSchedule,
)
from kiqstart.tasks.labels import DELAY_LABEL, UNIQUE_LABEL

# What poll.lua returns, at its end the names of what is due and their scores in turn.
PollAnswer = tuple[int, bytes, bytes, int, list[bytes], int, int, *tuple[bytes, ...]]


def sha1(data: bytes) -> str:
    """By which a script knows a definition."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def fire_values(firing: FireRequest, place: int) -> list[Value]:
    """All that a script has to know of a step; `place` is that of its stream among the keys."""
    message, delay, unique, task = firing.message, 0, "", ""
    if message is not None:
        delay = round(float(message.labels.get(DELAY_LABEL, 0)) * 1000)
        unique, task = str(message.labels.get(UNIQUE_LABEL, "")), message.task_id
    return [
        *(raw_name(firing.due.name), sha1(firing.due.data)),
        *(firing.expected, optional(firing.following_ms), optional(firing.send_ms)),
        *(place, delay, unique, task, b"" if message is None else message.message, firing.outcome.value),
    ]


def fire_answers(flat: Sequence[bytes]) -> list[FireResult]:
    """What came of each step."""
    return [
        FireResult(outcome=Outcome(outcome.decode()), detail=detail.decode(errors="replace"))
        for outcome, detail in zip(flat[::2], flat[1::2], strict=True)
    ]


def add_answers(answer: Sequence[bytes | int]) -> list[bool | ResponseError]:
    """Whether each schedule is kept, or why Redis has refused it.

    Raises:
        ResponseError: it has refused all of them.
    """
    kept = [ResponseError(one.decode(errors="replace")) if isinstance(one, bytes) else bool(one) for one in answer]
    refusals = [one for one in kept if isinstance(one, ResponseError)]
    if refusals and len(refusals) == len(kept):
        raise refusals[0]
    return kept


def poll_of(answer: PollAnswer) -> Poll:
    """What a scheduler sees."""
    now, following, table, number, schedulers, set_back, is_last, *due = answer
    return Poll(
        now_ms=now,
        page=_page(due, is_last=bool(is_last)),
        next_due_ms=ms_of_score(following) if following else None,
        schedulers=[text_of_name(name) for name in schedulers],
        table=table.decode(errors="replace") or None,
        table_number=number,
        is_set_back=bool(set_back),
    )


def optional(number: int | None) -> Value:
    """A number, or '' for none."""
    return "" if number is None else number


def flat(entries: Iterable[Entry]) -> list[Value]:
    """Name, definition and time of each entry, one after another."""
    return [value for entry in entries for value in (raw_name(entry.name), entry.data, optional(entry.due_ms))]


def added(entries: Iterable[Entry]) -> list[Value]:
    """The same, each with whether it stays due when it is."""
    return [value for entry in entries for value in (*flat([entry]), int(entry.stays))]


def stored_schedule(
    name: str, data: bytes, due: float | None, last: bytes | None, *, is_paused: bool
) -> StoredSchedule:
    """A schedule of what lies about it in Redis."""
    return StoredSchedule(
        name=name,
        data=data,
        due_ms=None if due is None else ms_of_score(due),
        is_paused=is_paused,
        last=None if last is None else _last_step(last),
    )


def _page(due: Sequence[bytes], *, is_last: bool) -> DuePage:
    marks = [
        DueMark(name=text_of_name(name), due_ms=ms_of_score(score), score=score.decode())
        for name, score in zip(due[::2], due[1::2], strict=True)
    ]
    return DuePage(marks=marks, is_last=is_last)


def _last_step(stored: bytes) -> LastStep | None:
    """None where it is none that a script has written."""
    try:
        due, done, outcome, length, rest = stored.split(b"\n", 4)
        # Ids of tasks may be any text.
        detail, task_id = rest[: int(length)], rest[int(length) + 1 :]
        return LastStep(
            due_ms=ms_of_score(due),
            done_ms=ms_of_score(done),
            task_id=task_id.decode(errors="replace"),
            outcome=Outcome(outcome.decode()),
            detail=detail.decode(errors="replace"),
        )
    except ValueError:
        return None
