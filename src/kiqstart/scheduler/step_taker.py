"""Takes steps in the store, some at a time, and tells what came of them."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from logging import getLogger
from typing import Final

from redis.exceptions import ResponseError
from taskiq import AsyncBroker, BrokerMessage

from kiqstart.broker.redis_retry import may_pass
from kiqstart.scheduler.firing import FireRequest, FireResult, FireScript, Outcome
from kiqstart.scheduler.log_text import one_line
from kiqstart.scheduler.occurrence import LATE, after_occurrence, from_ms, time_text
from kiqstart.scheduler.scheduler_stats import SchedulerStats
from kiqstart.scheduler.store import ScheduleStore

logger = getLogger(__name__)

# A script of many steps, or of large messages, keeps Redis from others.
_STEPS_AT_ONCE: Final = 200
# What fire.lua says of a queue that takes no more.
_FULL: Final = "FULL"
_NOT_TAKEN: Final = (Outcome.LOST, Outcome.REFUSED)
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024


class StepTaker:
    """Takes the steps of one scheduler.

    Args:
        name: by which the store knows the scheduler.
        deadline: seconds that middlewares may take after a message was sent.
        stats: counts what comes of steps; None where nobody does.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        store: ScheduleStore,
        *,
        name: str,
        deadline: float,
        stats: SchedulerStats | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._name = name
        self._deadline = deadline
        self._stats = stats
        self._number = 0
        self._unanswered: tuple[FireScript, int] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def take(self, firings: Sequence[FireRequest], now_ms: int) -> list[tuple[FireRequest, FireResult]]:
        """Take steps; gives what came of each.

        What is large comes last: where it cannot be sent, only it is not.

        Raises:
            RedisError: Redis is away, or refuses it.
        """
        answered: list[tuple[FireRequest, FireResult]] = []
        for some in sorted(_parts(firings), key=lambda some: _bytes(some) > _BYTES_AT_ONCE):
            self._number += 1
            script = FireScript(scheduler=self._name, number=self._number, firings=some)
            self._unanswered = (script, now_ms)
            answers = await self._store.fire(script)
            self._unanswered = None
            answered += self._note(script, answers, now_ms)
        return answered

    async def catch_up(self) -> None:
        """Tell what came of steps whose answer was lost; what was not taken is still due."""
        if self._unanswered is None:
            return
        script, now_ms = self._unanswered
        answers = await self._store.answers(script)
        self._unanswered = None
        if answers is not None:
            self._note(script, answers, now_ms)

    def cancel(self) -> None:
        """Tell no more."""
        for telling in self._telling:
            telling.cancel()

    def _note(
        self, script: FireScript, answers: Sequence[FireResult], now_ms: int
    ) -> list[tuple[FireRequest, FireResult]]:
        answered = list(zip(script.firings, answers, strict=True))
        for firing, answer in answered:
            self._log(firing, answer, now_ms)
            if self._stats is not None:
                self._stats.count(firing, answer, now_ms)
            if answer.outcome is Outcome.SENT and firing.message is not None:
                self._tell(firing.message)
                if firing.span is not None:
                    firing.span.sent()
        return answered

    def _log(self, firing: FireRequest, answer: FireResult, now_ms: int) -> None:
        name, message = one_line(firing.due.name), firing.message
        about = firing.expected_ms if firing.send_ms is None else firing.send_ms
        match answer.outcome:
            case Outcome.SENT if message is not None:
                late = timedelta(milliseconds=now_ms - about)
                how = f", {late.total_seconds():.1f} s late" if late > LATE else ""
                logger.info("Sent task %s with id %s%s", one_line(message.task_name), one_line(message.task_id), how)
            case Outcome.HELD:
                holder = one_line(answer.detail)
                logger.info("Schedule %s is not sent for %s: task %s has its key", name, _time(about), holder)
            case _:
                pass
        if firing.missed and answer.outcome not in _NOT_TAKEN:
            logger.warning("Schedule %s was missed %s, which is not caught up", name, firing.missed)

    def _tell(self, sent: BrokerMessage) -> None:
        # In a task of its own: a middleware that hangs holds nothing up.
        telling = asyncio.create_task(after_occurrence(self._broker, sent, deadline=self._deadline))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)


def is_passing(answer: FireResult) -> bool:
    """Whether a step was refused for what passes: a full queue or memory, no writes, a missing right."""
    passes = answer.detail.startswith(_FULL) or may_pass(ResponseError(answer.detail))
    return answer.outcome is Outcome.REFUSED and passes


def _parts(firings: Sequence[FireRequest]) -> Iterator[list[FireRequest]]:
    part: list[FireRequest] = []
    size = 0
    for firing in firings:
        added = _bytes([firing])
        if part and (len(part) == _STEPS_AT_ONCE or size + added > _BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(firing)
        size += added
    if part:
        yield part


def _bytes(firings: Sequence[FireRequest]) -> int:
    return sum(len(one.due.data) + (0 if one.message is None else len(one.message.message)) for one in firings)


def _time(milliseconds: int) -> str:
    return time_text(from_ms(milliseconds))
