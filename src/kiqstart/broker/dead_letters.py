"""What became of messages that cannot be run: to be looked at, sent again, or dropped."""

import math
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self, cast

from taskiq import TaskiqMessage
from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.operator_acts import do
from kiqstart.broker.own_labels import POOL_CRASHES_LABEL
from kiqstart.broker.receiver.preflight import UNACKNOWLEDGED_LABEL
from kiqstart.broker.redis_text import whole_number
from kiqstart.broker.retries import RETRIES_LABEL
from kiqstart.broker.script import Script, Value
from kiqstart.errors import OperatorError
from kiqstart.tasks.caller_types import number, text
from kiqstart.tasks.labels import UNIQUE_LABEL
from kiqstart.tasks.messages import send_of, with_labels
from kiqstart.tasks.sizes import MIB

if TYPE_CHECKING:
    from redis.asyncio import Redis

_RESEND: Final = Script("resend")
_LETTERS: Final = Script("letters")
_READ_AT_ONCE: Final = 100
_BYTES_AT_ONCE: Final = 8 * MIB
_TRIES_LABELS: Final = frozenset({RETRIES_LABEL, UNACKNOWLEDGED_LABEL, POOL_CRASHES_LABEL})
_ID: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")

Fields = dict[bytes, bytes]


class DeadLetterError(OperatorError):
    """A dead letter cannot be sent again."""


class DeadLetterNotFoundError(DeadLetterError):
    """There is no such dead letter, or no longer."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"there is no dead letter {letter!r}: it was sent again, purged or dropped, or never was")


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


class DeadLetters:
    """The dead letters of one broker, of all of its queues.

    All methods raise redis-py's `RedisError` where Redis is away.

    Args:
        redis: an async client.
        keys: the broker's names.
        formatter: reads and writes the broker's messages.
        deadline: seconds for which an act that has begun is tried through an outage.
    """

    def __init__(self, redis: object, keys: QueueKeys, formatter: TaskiqFormatter, *, deadline: float) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._formatter = formatter
        self._deadline = deadline

    async def list(
        self, limit: int = 100, *, reason: str | None = None, task_name: str | None = None
    ) -> Sequence[DeadLetter]:
        """The newest letters, newest first; only those with that reason and task where these are named.

        Raises:
            TypeError: the limit is no number.
        """
        number(limit, "list(…)", "dead letters")
        found: list[DeadLetter] = []
        async with aclosing(self.walk(reason=reason, task_name=task_name)) as letters:
            async for letter in letters:
                if len(found) >= limit:
                    break
                found.append(letter)
        return found

    async def walk(self, *, reason: str | None = None, task_name: str | None = None) -> AsyncGenerator[DeadLetter]:
        """All letters, newest first, read as they are asked for, some MB at a time; none that is added meanwhile."""
        before = "+"
        while True:
            call: list[Value] = [before, _READ_AT_ONCE, _BYTES_AT_ONCE]
            entries = cast("list[tuple[bytes, list[bytes]]]", await _LETTERS(self._redis, [self._keys.dead], call))
            for entry, parts in entries:
                letter = self._letter(entry.decode(), dict(zip(parts[::2], parts[1::2], strict=True)))
                if reason in (None, letter.reason) and task_name in (None, letter.task_name):
                    yield letter
            if not entries:
                return
            before = f"({entries[-1][0].decode()}"

    async def get(self, letter: str) -> DeadLetter:
        """The letter with that id.

        Raises:
            DeadLetterNotFoundError: there is none.
        """
        return self._letter(letter, await self._fields(letter))

    async def retry(self, letter: str) -> DeadLetter:
        """Take a letter out and send its task to its queue anew, in one step; its deliveries and retries count from 0.

        The task keeps its id, takes its unique key, and is cancelled no more. A result that it left (the error of its
        last try) is deleted, so that who waits gets the new one. Results that are kept elsewhere stay until then.

        Returns:
            The letter as it was.

        Raises:
            DeadLetterNotFoundError: there is none.
            UnreadableDeadLetterError: it holds no task; it stays.
            UniqueKeyHeldError: another task has its unique key; it stays.
            DeadLetterError: its queue is none, or the queue's key in Redis holds something else; it stays.
            UnansweredError: Redis does not answer any more; it may have been sent.
            RedisError: Redis is away, and it stays.
        """
        found = await self.get(letter)
        message = self._message(found.data)
        if message is None:
            raise UnreadableDeadLetterError(letter)
        unique = str(message.labels.get(UNIQUE_LABEL, ""))
        keys = self._keys
        if not keys.is_queue(found.queue):
            raise DeadLetterError(f"dead letter {letter} cannot be sent again: {found.queue[:100]!r} is no queue's key")
        call: list[Value] = [letter, message.task_id, unique, self._as_new(message, found.data), send_of(message)]
        done = await do(
            lambda: _RESEND(self._redis, [keys.result(message.task_id), found.queue, *keys.shared], call),
            deadline=self._deadline,
            otherwise=f"dead letter {letter} may have been sent again",
        )
        outcome, detail = (part.decode(errors="replace") for part in cast("list[bytes]", done.answer))
        if outcome == "unknown" and not done.is_repeated:
            raise DeadLetterNotFoundError(letter)
        if outcome == "held":
            raise UniqueKeyHeldError(letter, unique, detail)
        if outcome == "error":
            raise DeadLetterError(f"dead letter {letter} cannot be sent to {found.queue}: {detail}")
        return found

    async def purge(self, letter: str) -> None:
        """Drop a letter.

        Raises:
            DeadLetterNotFoundError: there is none.
            UnansweredError: Redis does not answer any more; it may have been dropped.
            RedisError: Redis is away, and it stays.
        """
        await self._fields(letter)
        done = await do(
            lambda: self._redis.xdel(self._keys.dead, letter),
            deadline=self._deadline,
            otherwise=f"dead letter {letter} may have been dropped",
        )
        if not (done.answer or done.is_repeated):
            raise DeadLetterNotFoundError(letter)

    async def purge_all(self) -> int:
        """Drop all letters that there are now, and tell how many there were.

        Raises:
            UnansweredError: Redis does not answer any more; they may have been dropped.
            RedisError: Redis is away, and all stay.
        """
        newest = cast("list[tuple[bytes, Fields]]", await self._redis.xrevrange(self._keys.dead, count=1))
        if not newest:
            return 0
        milliseconds, _, place = newest[0][0].decode().partition("-")
        return await self._drop_before(f"{milliseconds}-{int(place) + 1}")

    async def purge_older_than(self, seconds: float) -> int:
        """Drop the letters that were buried more than so many seconds ago, and tell how many there were.

        Raises:
            TypeError: it is no number.
            ValueError: it is below 0, or NaN.
            UnansweredError: Redis does not answer any more; they may have been dropped.
            RedisError: Redis is away, and all stay.
        """
        if not number(seconds, "purge_older_than(…)", "seconds") >= 0:
            raise ValueError(f"purge_older_than({seconds}): write a number of seconds that is not below 0")
        now, microseconds = await self._redis.time()
        oldest = now * 1000 + microseconds // 1000 - seconds * 1000
        return await self._drop_before(str(max(math.floor(oldest), 0))) if math.isfinite(oldest) else 0

    async def _drop_before(self, letter: str) -> int:
        # By their ids: a try that arrives late drops no letter that came later.
        before, problem = await self.count(), "dead letters may have been dropped"
        done = await do(
            lambda: self._redis.xtrim(self._keys.dead, minid=letter, approximate=False),
            deadline=self._deadline,
            otherwise=problem,
        )
        if not done.is_repeated:
            return done.answer
        left = await do(self.count, deadline=self._deadline, otherwise=problem)
        return max(before - left.answer, 0)

    async def count(self) -> int:
        """How many letters there are."""
        return await self._redis.xlen(self._keys.dead)

    async def dropped(self) -> int:
        """How many letters were ever dropped since they were too old or too many."""
        counted = cast("bytes | None", await self._redis.get(self._keys.dropped))
        return whole_number(None if counted is None else counted.decode(errors="replace"), 0)

    async def _fields(self, letter: str) -> Fields:
        if _is_id(letter):
            entries = cast(
                "list[tuple[bytes, Fields]]", await self._redis.xrange(self._keys.dead, min=letter, max=letter)
            )
            if entries:
                return entries[0][1]
        raise DeadLetterNotFoundError(letter)

    def _letter(self, letter: str, fields: Fields) -> DeadLetter:
        return DeadLetter.from_fields(letter, fields, self._message(fields.get(b"data", b"")))

    def _message(self, data: bytes) -> TaskiqMessage | None:
        try:
            message = self._formatter.loads(data)
            message.parse_labels()
        except Exception:  # noqa: BLE001  # whatever a serializer raises
            return None
        return message

    def _as_new(self, message: TaskiqMessage, data: bytes) -> bytes:
        spent = _TRIES_LABELS & message.labels.keys()
        if not spent:
            return data
        return self._formatter.dumps(with_labels(message, dict.fromkeys(spent, 0))).message


def _is_id(letter: str) -> bool:
    return _ID.fullmatch(text(letter, "a dead letter", "its id")) is not None


def _time(milliseconds: int, default: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(default / 1000, UTC)
