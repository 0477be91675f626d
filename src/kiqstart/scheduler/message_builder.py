"""Makes the messages of what is due; one that fails or hangs is tried again and holds up no other."""

import asyncio
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from logging import getLogger
from typing import Final

from taskiq import AsyncBroker

from kiqstart.clock import local_time
from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.due import DueSchedule
from kiqstart.scheduler.firing import FireRequest, Outcome
from kiqstart.scheduler.log_text import error_line, one_line
from kiqstart.scheduler.misfires import FireTime, step_given_up, steps
from kiqstart.scheduler.occurrence import from_ms, occurrence_message, occurrence_span, time_text, to_ms
from kiqstart.scheduler.sealed_definitions import load_trusted

logger = getLogger(__name__)

# A message is made in far less; what takes longer is looked for at the next tick.
_SECONDS_TO_WAIT: Final = 0.05
# A message that was made ahead says nothing of being late.
_STALE_MS: Final = 500
_MADE_AT_ONCE: Final = 20
_COMPUTED_HERE: Final = 200


@dataclass(kw_only=True)
class _Attempt:
    due: DueSchedule
    made_for_ms: int
    work: "asyncio.Task[list[FireRequest]]"
    began: float | None = None
    """When it was first due here; None: it is not yet."""
    began_ms: int = 0
    """The same by the store's clock."""
    is_awaited: bool = False
    """Whether it was not done when it was last asked for; what is then made is not too old to be sent."""
    is_offered: bool = False
    """Whether what was made was given out: where it comes to nothing, it is made anew."""
    problem: str = ""
    """What was told last."""
    has_failed: bool = False
    """Whether that is a failure, and not only an outage of the store."""
    is_given_up: bool = False


class MessageBuilder:
    """The schedules that are due, each with its messages as far as they are made.

    Args:
        deadline: seconds for which a message is tried; then its time counts as failed, and the schedule goes on.
    """

    def __init__(self, broker: AsyncBroker, *, deadline: float) -> None:
        self._broker = broker
        self._deadline = deadline
        self._attempts: dict[str, _Attempt] = {}
        # Work that was given up, and does not end.
        self._hanging: dict[str, asyncio.Task[list[FireRequest]]] = {}
        self.unreadable: dict[str, tuple[DueSchedule, str]] = {}
        """Those that cannot be read, by their names, each with what is wrong."""

    async def firings(self, due: Sequence[DueSchedule], now_ms: int) -> list[FireRequest]:
        """The steps that can be taken now. What cannot be read is in `unreadable` afterwards.

        Of what is due only soon, the messages are made ahead.
        """
        self._forget_all_but(due)
        begun = [work for one in due if (work := self._begin(one, now_ms)) is not None]
        if begun:
            await asyncio.wait(begun, timeout=_SECONDS_TO_WAIT)
        self.unreadable.clear()
        return [
            firing
            for attempt in self._attempts.values()
            if attempt.due.due_ms <= now_ms
            for firing in self._come_to(attempt)
        ]

    def fail(self, firing: FireRequest, problem: str) -> None:
        """The store did not take a step: it is tried again until the deadline."""
        attempt = self._attempts.get(firing.due.name)
        if attempt is not None:
            self._report(attempt, problem)

    def postpone(self, firing: FireRequest, problem: str) -> None:
        """The store cannot take any step now: its message is tried again for as long as that lasts."""
        attempt = self._attempts.get(firing.due.name)
        if attempt is not None:
            self._report(attempt, problem)
            attempt.began, attempt.has_failed = None, False

    def forget(self, name: str) -> None:
        """A schedule is another one than was thought."""
        attempt = self._attempts.pop(name, None)
        if attempt is not None and not attempt.work.done():
            attempt.work.cancel()
            # Where one hangs already, this one only waited for it.
            self._hanging.setdefault(name, attempt.work)
            attempt.work.add_done_callback(lambda work: self._end(name, work))

    def cancel(self) -> None:
        """Make no more messages."""
        self._forget_all_but([])

    def _forget_all_but(self, due: Sequence[DueSchedule]) -> None:
        wanted = {one.name: one for one in due}
        for name in [name for name, attempt in self._attempts.items() if wanted.get(name) != attempt.due]:
            self.forget(name)

    def _end(self, name: str, work: "asyncio.Task[list[FireRequest]]") -> None:
        if self._hanging.get(name) is work:
            del self._hanging[name]

    def _begin(self, due: DueSchedule, now_ms: int) -> "asyncio.Task[list[FireRequest]] | None":
        """Make its messages: for its time, where that comes, else for now. Gives the work that can be waited for."""
        for_ms = max(due.due_ms, now_ms)
        attempt = self._attempts.get(due.name)
        if attempt is None:
            work = self._work(due, for_ms)
            attempt = self._attempts[due.name] = _Attempt(due=due, made_for_ms=for_ms, work=work)
            is_new = True
        else:
            is_old = attempt.is_offered or for_ms - attempt.made_for_ms > _STALE_MS
            is_old = is_old and not attempt.is_awaited
            is_new = attempt.work.done() and (attempt.has_failed or is_old)
            if is_new:
                attempt.work, attempt.made_for_ms = self._work(due, for_ms), for_ms
                attempt.is_offered = False
        if attempt.began is None and due.due_ms <= now_ms:
            attempt.began, attempt.began_ms = local_time(), now_ms
        return attempt.work if is_new and due.due_ms <= now_ms else None

    def _work(self, due: DueSchedule, now_ms: int) -> "asyncio.Task[list[FireRequest]]":
        hanging = self._hanging.get(due.name)
        making = self._make(due, now_ms) if hanging is None else self._make_after(hanging, due, now_ms)
        work = asyncio.create_task(making)
        # Of some, nobody asks what became of them.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return work

    async def _make_after(
        self, hanging: "asyncio.Task[list[FireRequest]]", due: DueSchedule, now_ms: int
    ) -> list[FireRequest]:
        """A middleware that does not let itself be cancelled is called no further time until it ends."""
        await asyncio.wait({hanging})
        return await self._make(due, now_ms)

    async def _make(self, due: DueSchedule, now_ms: int) -> list[FireRequest]:
        """All that is done with one schedule before its step: whatever fails here, fails for it alone."""
        definition = load_trusted(due.data, self._broker, name=due.name)
        now = from_ms(now_ms)
        found = await _steps(definition, due, now)
        firings: list[FireRequest] = []
        for step in found:
            message, span = None, None
            if step.send is not None:
                span = occurrence_span(self._broker, definition, step.send)
                message = await occurrence_message(self._broker, definition, step.send, now - step.send, span)
            firings.append(
                FireRequest(
                    due=due,
                    expected_ms=to_ms(step.expected),
                    following_ms=None if step.following is None else to_ms(step.following),
                    send_ms=None if step.send is None else to_ms(step.send),
                    message=message,
                    missed=step.missed,
                    passed_over=step.passed_over,
                    span=span,
                )
            )
            if len(firings) % _MADE_AT_ONCE == 0:
                await asyncio.sleep(0)
        return firings

    def _come_to(self, attempt: _Attempt) -> list[FireRequest]:
        attempt.is_awaited, is_over = not attempt.work.done(), self._is_over(attempt)
        if attempt.work.done():
            # A middleware may raise a CancelledError of its own.
            error = CancelledError() if attempt.work.cancelled() else attempt.work.exception()
            if error is None:
                if not is_over or not attempt.has_failed:
                    attempt.is_offered = True
                    return attempt.work.result()
            elif isinstance(error, UnreadableScheduleError):
                self.unreadable[attempt.due.name] = (attempt.due, one_line(error))
                return []
            else:
                self._report(attempt, error_line(error))
        elif is_over:
            attempt.work.cancel()
            self._report(attempt, "a middleware hangs")
        return self._give_up(attempt) if is_over else []

    def _is_over(self, attempt: _Attempt) -> bool:
        return attempt.began is not None and local_time() - attempt.began > self._deadline

    def _report(self, attempt: _Attempt, problem: str) -> None:
        if problem != attempt.problem:
            logger.error("Schedule %s cannot be sent, trying again: %s", one_line(attempt.due.name), one_line(problem))
        attempt.problem, attempt.has_failed = problem, True

    def _give_up(self, attempt: _Attempt) -> list[FireRequest]:
        due = attempt.due
        try:
            definition = ScheduleDefinition.load(due.data)
            step = step_given_up(definition, from_ms(due.due_ms), from_ms(attempt.began_ms))
        except UnreadableScheduleError as error:
            self.unreadable[due.name] = (due, one_line(error))
            return []
        if not attempt.is_given_up:
            attempt.is_given_up = True
            about = time_text(step.send or step.expected)
            logger.error("Schedule %s is not sent for %s: %s", one_line(due.name), about, one_line(attempt.problem))
        following_ms = None if step.following is None else to_ms(step.following)
        return [
            FireRequest(
                due=due,
                expected_ms=due.due_ms,
                following_ms=following_ms,
                outcome=Outcome.FAILED,
                missed=step.missed,
                passed_over=step.passed_over,
            )
        ]


async def _steps(definition: ScheduleDefinition, due: DueSchedule, now: datetime) -> list[FireTime]:
    if definition.max_catch_up <= _COMPUTED_HERE:
        return steps(definition, from_ms(due.due_ms), now)
    # That takes long, and others get their turn.
    return await asyncio.to_thread(steps, definition, from_ms(due.due_ms), now)
