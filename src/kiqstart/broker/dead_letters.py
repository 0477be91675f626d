"""What became of messages that cannot be run: to be looked at, sent again, or dropped."""

import math
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.dead_letter import (
    DeadLetter,
    DeadLetterError,
    DeadLetterNotFoundError,
    Fields,
    UniqueKeyHeldError,
    UnreadableDeadLetterError,
)
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.operator_acts import do
from kiqstart.broker.redis_text import whole_number
from kiqstart.broker.resent_message import as_new, envelope_of
from kiqstart.broker.script import Script
from kiqstart.broker.walks import first_of
from kiqstart.redis.commands import AsyncCommands, Value, milliseconds
from kiqstart.tasks.caller_types import number, text
from kiqstart.tasks.labels import UNIQUE_LABEL
from kiqstart.tasks.messages import send_of
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets
from kiqstart.tasks.sizes import MIB

_RESEND: Final = Script[list[bytes]]("resend")
_LETTERS: Final = Script[list[tuple[bytes, list[bytes]]]]("letters")
_LETTERS_AFTER: Final = Script[tuple[int, bytes, bytes, *tuple[tuple[bytes, list[bytes]], ...]]]("letters_after")
_LETTER_IDS: Final = Script[list[bytes]]("letter_ids")
_READ_AT_ONCE: Final = 100
_READ_AFTER: Final = 1000
_DROPPED_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 8 * MIB
_ID: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@dataclass(frozen=True, kw_only=True)
class LettersAfter:
    """Dead letters that came after one, and all others in figures.

    Args:
        letters: those that came next, oldest first; not all, if the last one is not among them.
        count: of all letters that there are.
        first: the id of the oldest letter that there is; '' where there is none.
        last: the id of the newest one; '' where there is none.
    """

    letters: Sequence[DeadLetter]
    count: int
    first: str
    last: str


class DeadLetters:
    """The dead letters of one broker, of all of its queues.

    All methods raise redis-py's `RedisError` where Redis is away.

    Args:
        redis: an async client.
        keys: the broker's names.
        formatter: reads and writes the broker's messages.
        deadline: seconds for which an act that has begun is tried through an outage.
        secrets: decrypts what letters say.
    """

    def __init__(
        self,
        redis: AsyncCommands,
        keys: QueueKeys,
        formatter: TaskiqFormatter,
        *,
        deadline: float,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._formatter = formatter
        self._deadline = deadline
        self._secrets = secrets

    async def list(
        self, limit: int = 100, *, reason: str | None = None, task_name: str | None = None
    ) -> Sequence[DeadLetter]:
        """The newest letters, newest first; only those with that reason and task where these are named.

        Raises:
            TypeError: the limit is no number.
        """
        number(limit, "list(…)", "dead letters")
        return await first_of(self.walk(reason=reason, task_name=task_name), limit)

    async def walk(
        self, *, reason: str | None = None, task_name: str | None = None, older_than: float | None = None
    ) -> AsyncGenerator[DeadLetter]:
        """All letters, newest first, read as they are asked for, some MB at a time; none that is added meanwhile.

        Those only that were buried more than `older_than` seconds ago, where that is named.
        """
        before = "+" if older_than is None else str(max(await self.oldest_kept(older_than) - 1, 0))
        while True:
            call: list[Value] = [before, _READ_AT_ONCE, _BYTES_AT_ONCE]
            entries = await _LETTERS(self._redis, [self._keys.dead], call)
            for entry, parts in entries:
                letter = self._letter(entry.decode(), dict(zip(parts[::2], parts[1::2], strict=True)))
                if reason in (None, letter.reason) and task_name in (None, letter.task_name):
                    yield letter
            if not entries:
                return
            before = f"({entries[-1][0].decode()}"

    async def after(self, letter: str | None) -> LettersAfter:
        """Letters that came after one, some MB at most, or the oldest ones; read in one step with the figures."""
        call: list[Value] = [_after(letter), _READ_AFTER, _BYTES_AT_ONCE]
        count, first, last, *entries = await _LETTERS_AFTER(self._redis, [self._keys.dead], call)
        letters = [
            self._letter(entry.decode(), dict(zip(parts[::2], parts[1::2], strict=True))) for entry, parts in entries
        ]
        return LettersAfter(letters=letters, count=count, first=first.decode(), last=last.decode())

    async def ids(self) -> AsyncGenerator[str]:
        """The ids of all letters, oldest first, without what these hold."""
        after: str | None = None
        while True:
            call: list[Value] = [_after(after), _READ_AFTER, _BYTES_AT_ONCE]
            found = await _LETTER_IDS(self._redis, [self._keys.dead], call)
            for one in found:
                after = one.decode()
                yield after
            if not found:
                return

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
        message = envelope_of(self._formatter, found.data)
        if message is None:
            raise UnreadableDeadLetterError(letter)
        unique = str(message.labels.get(UNIQUE_LABEL, ""))
        keys = self._keys
        if not keys.is_queue(found.queue):
            raise DeadLetterError(f"dead letter {letter} cannot be sent again: {found.queue[:100]!r} is no queue's key")
        call: list[Value] = [
            letter,
            message.task_id,
            unique,
            as_new(self._formatter, message, found.data),
            send_of(message),
        ]
        done = await do(
            lambda: _RESEND(self._redis, [keys.result(message.task_id), found.queue, *keys.shared], call),
            deadline=self._deadline,
            otherwise=f"dead letter {letter} may have been sent again",
        )
        outcome, detail = (part.decode(errors="replace") for part in done.answer)
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
        newest = await self._redis.xrevrange(self._keys.dead, count=1)
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
        return await self._drop_before(str(await self.oldest_kept(seconds)))

    async def purge_many(self, letters: Sequence[str]) -> int:
        """Drop letters by their ids, and tell how many of them there still were.

        Raises:
            TypeError: an id is no text.
            UnansweredError: Redis does not answer any more; some may have been dropped.
            RedisError: Redis is away; those of later steps of 500 stay.
        """
        dropped = 0
        # What is no id is no letter's.
        ids = [one for one in letters if _is_id(one)]
        for first in range(0, len(ids), _DROPPED_AT_ONCE):
            some = ids[first : first + _DROPPED_AT_ONCE]
            done = await do(
                partial(self._redis.xdel, self._keys.dead, *some),
                deadline=self._deadline,
                otherwise=f"{dropped} dead letters have been dropped, and {len(some)} more may have been",
            )
            # What a try without an answer has dropped is not there any more.
            dropped += len(some) if done.is_repeated else done.answer
        return dropped

    async def oldest_kept(self, seconds: float) -> int:
        """So many seconds ago, in milliseconds of Redis' clock, by which the ids of letters begin."""
        oldest = await milliseconds(self._redis) - number(seconds, "older than", "seconds") * 1000
        return max(math.floor(oldest), 0) if math.isfinite(oldest) else 0

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
        counted = await self._redis.get(self._keys.dropped)
        return whole_number(None if counted is None else counted.decode(errors="replace"), 0)

    async def _fields(self, letter: str) -> Fields:
        if _is_id(letter):
            entries = await self._redis.xrange(self._keys.dead, min=letter, max=letter)
            if entries:
                return entries[0][1]
        raise DeadLetterNotFoundError(letter)

    def _letter(self, letter: str, fields: Fields) -> DeadLetter:
        if b"detail" in fields:
            fields = {**fields, b"detail": self._secrets.show_detail(fields[b"detail"])}
        return DeadLetter.from_fields(letter, fields, envelope_of(self._formatter, fields.get(b"data", b"")))

    def shown_message(self, letter: DeadLetter) -> bytes:
        """A letter's message to be looked at: arguments are decrypted where this process has the key."""
        return self._secrets.shown_message(letter.data)


def _after(letter: str | None) -> str:
    return "-" if letter is None else f"({letter}"


def _is_id(letter: str) -> bool:
    return _ID.fullmatch(text(letter, "a dead letter", "its id")) is not None
