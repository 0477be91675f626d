"""A message that will not be run, and why an act on one is refused."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from taskiq import TaskiqMessage

from kiqstart.broker.redis_text import whole_number
from kiqstart.errors import OperatorError

_SHOWN: Final = 100

Fields = dict[bytes, bytes]


class DeadLetterError(OperatorError):
    """A dead letter cannot be sent again."""


class DeadLetterNotFoundError(DeadLetterError):
    """There is no such dead letter, or no longer."""

    def __init__(self, letter: str) -> None:
        named = repr(letter[:_SHOWN])
        super().__init__(f"there is no dead letter {named}: it was sent again, purged or dropped, or never was")


class UnreadableDeadLetterError(DeadLetterError):
    """A dead letter holds no task."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"dead letter {letter} cannot be sent again, since it holds no readable message: purge it")


class UniqueKeyHeldError(DeadLetterError):
    """Another task has the unique key of a dead letter's task."""

    def __init__(self, letter: str, key: str, holder: str) -> None:
        super().__init__(f"dead letter {letter} stays, since task {holder} waits or runs with its unique key {key!r}")
        self.holder = holder


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that will not be run.

    Args:
        id: names the letter; later letters have greater ids.
        queue: key of the stream in which its task waited.
        task_id: its task; None where the message cannot be read.
        task_name: the name of its task; None where the message cannot be read.
        reason: a `DeadLetterReason`, or that of a later version.
        detail: a traceback or a sentence.
        deliveries: how many workers have had it, the last one included.
        first: when it was first delivered.
        last: when it became a dead letter.
        data: the message as it is sent again; where there was none, what there was instead.
    """

    id: str
    queue: str
    task_id: str | None
    task_name: str | None
    reason: str
    detail: str
    deliveries: int
    first: datetime
    last: datetime
    data: bytes

    @classmethod
    def from_fields(cls, letter: str, fields: Fields, message: TaskiqMessage | None) -> Self:
        """Make one of an entry of the stream, however odd."""
        texts = {name: value.decode(errors="replace") for name, value in fields.items()}
        buried = int(letter.partition("-")[0])
        last = whole_number(texts.get(b"last"), buried)
        return cls(
            id=letter,
            queue=texts.get(b"queue", ""),
            task_id=message.task_id if message is not None else None,
            task_name=message.task_name if message is not None else None,
            reason=texts.get(b"reason", ""),
            detail=texts.get(b"detail", ""),
            deliveries=whole_number(texts.get(b"deliveries"), 0),
            first=_time(whole_number(texts.get(b"first"), last), buried),
            last=_time(last, buried),
            data=fields.get(b"data", b""),
        )


def _time(milliseconds: int, default: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(default / 1000, UTC)
