"""Cancels tasks by their id, and says what was found."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from typing import Final, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError, ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.known_queues import names_of_queues
from kiqstart.broker.operator_acts import Done, UnansweredError, do
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.redis_retry import is_foreign_type, reason
from kiqstart.broker.redis_text import plain_in_json
from kiqstart.broker.results import decode_result, encode_failure
from kiqstart.broker.script import Script
from kiqstart.broker.worker_group import group_of_workers
from kiqstart.clock import local_time
from kiqstart.redis.commands import AsyncCommands, Entry, Value
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.tasks.task_ids import check_task_id

_CANCEL: Final = Script[tuple[int, int, int]]("cancel")
_CANCEL_ENTRY: Final = Script[bytes]("cancel_entry")
_UNMARK: Final = Script[int]("unmark")
_ENTRIES_AT_ONCE: Final = 500
_SECONDS_TO_LOOK: Final = 5.0
# For so many deadlines an answer is remembered: a try that begins within one may take its time.
_DEADLINES_REMEMBERED: Final = 2

Answer = TypeVar("Answer")


class CancelOutcome(StrEnum):
    """What `cancel` has found of a task."""

    DELAYED = "delayed"
    """It was due later, and is gone."""
    WAITING = "waiting"
    """It waited in its queue, and is gone."""
    RUNNING = "running"
    """A worker has it, and cancels it within about a second; once more, if it still cleans up after an earlier one."""
    ENDED = "ended"
    """It has a result already; nothing was done."""
    UNKNOWN = "unknown"
    """There is no such task. One that is sent with this id within `cancel_age` is cancelled when it comes."""


@dataclass(kw_only=True)
class _Findings:
    delayed: int = 0
    waiting: int = 0
    running: int = 0
    has_result: bool = False
    marked_until: int = 0
    is_complete: bool = False
    has_missed: bool = False


class Canceller:
    """Cancels whatever there is of a task: delayed, waiting, running, or more than one of these under one id.

    The id is marked first: whatever happens to the task from then on (a worker takes it, it fails and would be retried,
    it is due) happens to a cancelled one. Then the streams are looked through, oldest first, for some seconds: what
    waits is taken out, what runs is marked by its entry; once more where an entry has ended or was moved meanwhile, as
    by a worker that ends. Where all that there is was found, the id is free again.

    Args:
        redis: an async client.
        group: the consumer group, where no worker has named one yet.
        task_id_of: gives the task of a message, None where it cannot be read.
        result_ttl: seconds for which results are kept; None for ever.
    """

    def __init__(
        self,
        redis: AsyncCommands,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        task_id_of: Callable[[bytes], str | None],
        result_ttl: float | None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._group = group
        self._options = options
        self._task_id_of = task_id_of
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0
        # Seconds of outages, which are not those in which it looks.
        self._waited = 0.0

    async def cancel(self, task_id: str, queues: Iterable[str]) -> CancelOutcome:
        """Cancel a task, in these queues and in all that workers take or messages were sent to.

        Once it has begun, it goes through an outage.

        Raises:
            InvalidTaskIdError: no task can have this id.
            UnansweredError: Redis does not answer any more; the text says whether the task is cancelled.
            RedisError: Redis is away, and nothing was done.
        """
        check_task_id(task_id)
        group = await group_of_workers(self._redis, self._keys, self._group)
        result = encode_failure(TaskCancelledError(task_id))
        findings = await self._mark(task_id, result)
        try:
            await self._look(task_id, group, queues, result, findings)
            outcome = _outcome(findings)
            if findings.is_complete and not findings.has_missed and outcome is not CancelOutcome.UNKNOWN:
                await self._do(
                    partial(_UNMARK, self._redis, [self._keys.cancelled], [task_id, findings.marked_until]), ""
                )
        except RedisError as error:
            raise UnansweredError(
                f"task {task_id!r} is marked as cancelled, but what was found of it is not known: {reason(error)}; "
                "cancel it again"
            ) from error
        return outcome

    async def _mark(self, task_id: str, result: bytes) -> _Findings:
        """Mark the id, and take out what is delayed."""
        keys = [self._keys.result(task_id), *self._keys.shared]
        arguments: list[Value] = [task_id, self._mark_ms, self._options.cancel_limit, *self._of_result(result)]
        arguments.append(uuid4().hex)
        tries, remembered_ms = count(), max(round(self._options.send_deadline * _DEADLINES_REMEMBERED * 1000), 1)
        done = await self._do(
            lambda: _CANCEL(self._redis, keys, [*arguments, min(next(tries), 1), remembered_ms]),
            f"task {task_id!r} may be cancelled or not: cancel it again",
        )
        delayed, has_result, marked_until = done.answer
        return _Findings(delayed=delayed, has_result=bool(has_result), marked_until=marked_until)

    async def _look(self, task_id: str, group: str, queues: Iterable[str], result: bytes, findings: _Findings) -> None:
        """Look through the streams until nothing ends or moves before it is cancelled, for some seconds at most."""
        until = local_time() + _SECONDS_TO_LOOK
        is_over = False
        while not is_over:
            findings.has_missed = findings.is_complete = False
            async for stream, entry in self._entries_of(task_id, queues, findings, until):
                keys = [stream, self._keys.result(task_id), *self._keys.shared]
                arguments: list[Value] = [group, entry, task_id, findings.marked_until, *self._of_result(result)]
                done = await self._do(partial(_CANCEL_ENTRY, self._redis, keys, arguments), "")
                found = done.answer
                if found == b"" and done.is_repeated and await self._is_stored(result, task_id):
                    found = b"waiting"
                findings.waiting += found == b"waiting"
                findings.running += found == b"running"
                findings.has_missed |= found == b""
            is_over = not (findings.has_missed and findings.is_complete)
        if not findings.has_result:
            # It may have ended since, and was then met nowhere: by itself, or by the mark of its id.
            stored = (await self._do(lambda: self._redis.get(self._keys.result(task_id)), "")).answer
            findings.has_result = stored is not None
            findings.running += not findings.waiting and not findings.delayed and _is_cancellation(stored)

    def _of_result(self, result: bytes) -> list[Value]:
        return [result, self._result_ms, self._keys.channel_suffix]

    async def _is_stored(self, result: bytes, task_id: str) -> bool:
        done = await self._do(lambda: self._redis.get(self._keys.result(task_id)), "")
        return done.answer == result

    async def _do(self, call: Callable[[], Awaitable[Answer]], otherwise: str) -> "Done[Answer]":
        done = await do(call, deadline=self._options.send_deadline, otherwise=otherwise)
        self._waited += done.waited
        return done

    @property
    def _mark_ms(self) -> int:
        return round(self._options.cancel_age * 1000)

    async def _entries_of(
        self, task_id: str, queues: Iterable[str], findings: _Findings, until: float
    ) -> AsyncGenerator[tuple[str, bytes]]:
        known = (await self._do(partial(names_of_queues, self._redis, self._keys), "")).answer
        needle = plain_in_json(task_id)
        # What moves from one to another does so in this order, and is met again.
        for stream in reversed(self._keys.all_locations(sorted({*queues, *known}, reverse=True))):
            start = "-"
            while start:
                if local_time() > until + self._waited:
                    return
                entries = (await self._do(partial(self._page, stream, start), "")).answer
                for entry, fields in entries:
                    data = fields.get(b"data", b"")
                    if (needle is None or needle in data) and self._task_id_of(data) == task_id:
                        yield stream, entry
                start = f"({entries[-1][0].decode()}" if len(entries) == _ENTRIES_AT_ONCE else ""
        findings.is_complete = True

    async def _page(self, stream: str, start: str) -> list[Entry]:
        try:
            return await self._redis.xrange(stream, min=start, max="+", count=_ENTRIES_AT_ONCE)
        except ResponseError as error:
            if not is_foreign_type(error):
                raise
            return []


def _is_cancellation(stored: bytes | None) -> bool:
    """Whether a result is that of a cancelled task."""
    try:
        return stored is not None and isinstance(decode_result(stored).error, TaskCancelledError)
    except ValueError:
        return False


def _outcome(findings: _Findings) -> CancelOutcome:
    if findings.running:
        return CancelOutcome.RUNNING
    if findings.waiting:
        return CancelOutcome.WAITING
    if findings.delayed:
        return CancelOutcome.DELAYED
    return CancelOutcome.ENDED if findings.has_result else CancelOutcome.UNKNOWN
