"""Steps of schedules, as they are asked for, and what comes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from taskiq import BrokerMessage

from kiqstart.scheduler.due import DueSchedule
from kiqstart.tasks.tracing import ScheduledSpan


class Outcome(StrEnum):
    """What came of a step."""

    SENT = "sent"
    HELD = "held"
    """Not sent: another task has its unique key."""
    SKIPPED = "skipped"
    """Missed, and not caught up."""
    FAILED = "failed"
    """Given up after the send's deadline."""
    LOST = "lost"
    """Somebody else took the step, or the schedule has been changed since."""
    REFUSED = "refused"
    """The store did not take the message; the schedule is as before."""


@dataclass(frozen=True, kw_only=True)
class FireRequest:
    """A step of a schedule, with the message that is sent in it. It is taken only by the first who asks for it.

    Args:
        due: the schedule as it was seen; where it is another one by now, nothing happens.
        expected_ms: when it is due now, in milliseconds since the Unix epoch.
        following_ms: when it is due next; None: it has ended.
        send_ms: the time that is sent; None: nothing is.
        message: what is sent; its labels say where and when, as with any other send.
        outcome: what is noted of a step that sends nothing.
        missed: which times are passed over for good in this step, in words; '': none.
        passed_over: how many these are.
        span: is told if the message was sent.
    """

    due: DueSchedule
    expected_ms: int
    following_ms: int | None
    send_ms: int | None = None
    message: BrokerMessage | None = None
    outcome: Outcome = Outcome.SKIPPED
    missed: str = ""
    passed_over: int = 0
    span: ScheduledSpan | None = field(default=None, compare=False)

    @property
    def expected(self) -> str:
        """When it is due now, as the store has it: of its first step that may be any number."""
        is_first = self.expected_ms == self.due.due_ms
        return (is_first and self.due.score) or str(self.expected_ms)


@dataclass(frozen=True, kw_only=True)
class FireScript:
    """Steps that are taken in one script.

    Args:
        scheduler: who takes them.
        number: which of its scripts it is; one that arrives twice is answered as it was the first time.
    """

    scheduler: str
    number: int
    firings: Sequence[FireRequest]


@dataclass(frozen=True, kw_only=True)
class FireResult:
    """What came of a firing; `detail` is the id of the task that holds the key, or an error."""

    outcome: Outcome
    detail: str = ""
