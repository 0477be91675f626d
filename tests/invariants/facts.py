"""What is known of messages and their runs."""

from dataclasses import dataclass, field
from typing import Protocol


class Process(Protocol):
    """Where tasks run."""

    @property
    def name(self) -> str:
        """What it is called in what is reported."""
        ...

    @property
    def is_dead(self) -> bool:
        """Whether it has ended."""
        ...


@dataclass(kw_only=True)
class Behaviour:
    """What a task does.

    Args:
        seconds: how long each run takes.
        ends: how its runs end, one after the other, the last one for ever: 'ok', 'error', or 'kill' for its worker.
        is_stubborn: whether it makes another error of its cancellation.
        clean_up: how long it cleans up when it is cut off, in seconds.
    """

    seconds: float = 0.1
    ends: tuple[str, ...] = ("ok",)
    is_stubborn: bool = False
    clean_up: float = 0.0


@dataclass(kw_only=True, eq=False)
class Run:
    """One run of a task, in a process."""

    number: int
    process: Process
    began: float
    end: str = ""
    ended: float = 0.0
    is_retried: bool = False
    """Whether the task itself asks for another run by its error."""

    @property
    def is_going_on(self) -> bool:
        """Whether it still does something."""
        return not self.end and not self.process.is_dead


@dataclass(kw_only=True, eq=False)
class Sent:
    """A message, as its sender has it. Two of them may have one task's id.

    Args:
        max_retries: how often it is tried again after an error.
    """

    uid: int
    task_id: str
    behaviour: Behaviour
    unique: str = ""
    max_retries: int = 0
    acks: str = ""
    """When it is acknowledged, as its sender says: 'when_received', 'when_executed', or '' for with its result."""
    needs_new: bool = False
    """Whether only workers of a newer version can run it."""
    asked: float = 0.0
    told: str = ""
    told_at: float = 0.0
    arrived: float | None = None
    runs: list[Run] = field(default_factory=list[Run])
    may_be_gone: bool = False
    is_touched: bool = False
    is_cancelled: bool = False
    cancelled_for_good: float | None = None
    may_begin_at: Process | None = None
    """A worker that had it when it was cancelled."""
    is_buried: bool = False
    is_resent: bool = False
    was_cut_off: bool = False
    """Whether it was acknowledged before it ran, and its worker has not ended it."""
    lost_workers: int = 0
    """How many workers have lost their lease that were handed it before."""

    @property
    def acknowledges_first(self) -> bool:
        """Whether it is not to be run again once it has begun."""
        return self.acks == "when_received"

    @property
    def holder(self) -> str:
        """The task that has its key, where its sender was told of one; else ''."""
        return "" if self.told in {"", "sent", "failed", "given-up"} else self.told


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that Redis has."""

    kind: str
    uid: int | None
    task_id: str
    unique: str
    where: str
    entry: str
    deaths: int = 0
    """With how many workers it has gone down, as is counted against it."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """A key that is there in the end; its name is without what all begin with."""

    name: str
    expires: bool


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A promise that did not hold, and the task that it was about, or ''."""

    text: str
    task_id: str = ""


def name_of(sent: Sent) -> str:
    """What a message is called in what is reported."""
    return f"message {sent.uid} of task {sent.task_id}"
