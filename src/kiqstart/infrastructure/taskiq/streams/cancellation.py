"""Cancels tasks by their id, and says what was found."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.infrastructure.taskiq.streams.delivery import local_time
from kiqstart.infrastructure.taskiq.streams.errors import TaskCancelledError
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.results import encode_failure
from kiqstart.infrastructure.taskiq.streams.script import Script, Value

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CANCEL: Final = Script("cancel")
_CANCEL_ENTRY: Final = Script("cancel_entry")
_ENTRIES_AT_ONCE: Final = 500
_SECONDS_TO_LOOK: Final = 5.0

RawEntry = tuple[bytes, dict[bytes, bytes]]


class CancelOutcome(StrEnum):
    """What `cancel` has found of a task."""

    DELAYED = "delayed"
    """It was due later, and is gone."""
    WAITING = "waiting"
    """It waited in its queue, and is gone."""
    RUNNING = "running"
    """A worker has it, and cancels it within about a second."""
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
    is_complete: bool = False
    has_missed: bool = False


class Canceller:
    """Cancels whatever there is of a task: delayed, waiting, running, or more than one of these under one id.

    The id is marked first: whatever happens to the task from then on (a worker takes it, it fails and would be retried,
    it is due) happens to a cancelled one. Then the streams are looked through, oldest first, for some seconds: what
    waits is taken out, what runs is marked by its entry. Where all that there is was found, the id is free again; not
    where an entry was moved meanwhile, as by a worker that ends.

    Args:
        redis: an async client.
        group: the consumer group, where no worker has named one yet.
        task_id_of: gives the task of a message, None where it cannot be read.
        result_ttl: seconds for which results are kept; None for ever.
    """

    def __init__(
        self,
        redis: object,
        keys: QueueKeys,
        *,
        group: str,
        options: StreamOptions,
        task_id_of: Callable[[bytes], str | None],
        result_ttl: float | None,
    ) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._group = group
        self._options = options
        self._task_id_of = task_id_of
        self._result_ms = round(result_ttl * 1000) if result_ttl else 0

    async def cancel(self, task_id: str, queues: Iterable[str]) -> CancelOutcome:
        """Cancel a task, in these queues and in all that workers take.

        Raises:
            RedisError: Redis is away.
        """
        if not _is_text(task_id):
            return CancelOutcome.UNKNOWN
        group = await self._group_of_workers()
        result = encode_failure(TaskCancelledError(task_id))
        of_result: list[Value] = [result, self._result_ms, self._keys.channel_suffix]
        keys = [self._keys.result(task_id), *self._keys.shared]
        arguments: list[Value] = [task_id, self._mark_ms, self._options.cancel_limit, *of_result]
        delayed, has_result = cast("list[int]", await _CANCEL(self._redis, keys, arguments))
        findings = _Findings(delayed=delayed, has_result=bool(has_result))
        until = local_time() + _SECONDS_TO_LOOK
        async for stream, entry in self._entries_of(task_id, queues, until, findings):
            keys = [stream, self._keys.result(task_id), *self._keys.shared]
            arguments = [group, entry, task_id, self._mark_ms, *of_result]
            found = await _CANCEL_ENTRY(self._redis, keys, arguments)
            findings.waiting += found == b"waiting"
            findings.running += found == b"running"
            findings.has_missed |= found == b""
        if not findings.has_result:
            # It may have ended since, and was then met nowhere.
            findings.has_result = bool(await self._redis.exists(self._keys.result(task_id)))
        outcome = _outcome(findings)
        if findings.is_complete and not findings.has_missed and outcome is not CancelOutcome.UNKNOWN:
            await self._redis.zrem(self._keys.cancelled, task_id)
        return outcome

    async def _group_of_workers(self) -> str:
        """The group whose workers take the queue, whatever this program's own setting is."""
        known = cast("bytes | None", await self._redis.get(self._keys.group))
        return self._group if known is None else known.decode()

    @property
    def _mark_ms(self) -> int:
        return round(self._options.cancel_age * 1000)

    async def _entries_of(
        self, task_id: str, queues: Iterable[str], until: float, findings: _Findings
    ) -> AsyncGenerator[tuple[str, bytes]]:
        known = {queue.decode() for queue in cast("set[bytes]", await self._redis.smembers(self._keys.queues))}
        needle = task_id.encode()
        is_plain = task_id.isascii() and task_id.isprintable() and not {'"', "\\", "/"} & set(task_id)
        # What moves from one to another does so in this order, and is met again.
        for stream in reversed(self._keys.all_streams(sorted({*queues, *known}, reverse=True))):
            start = "-"
            while start:
                if local_time() > until:
                    return
                entries = await self._page(stream, start)
                for entry, fields in entries:
                    data = fields.get(b"data", b"")
                    if (not is_plain or needle in data) and self._task_id_of(data) == task_id:
                        yield stream, entry
                start = f"({entries[-1][0].decode()}" if len(entries) == _ENTRIES_AT_ONCE else ""
        findings.is_complete = True

    async def _page(self, stream: str, start: str) -> list[RawEntry]:
        try:
            found = await self._redis.xrange(stream, min=start, max="+", count=_ENTRIES_AT_ONCE)
        except ResponseError:  # the key holds something else
            return []
        return cast("list[RawEntry]", found)


def _is_text(task_id: str) -> bool:
    """Whether UTF-8 can hold an id; no task is sent with any other."""
    try:
        task_id.encode()
    except UnicodeEncodeError:
        return False
    return True


def _outcome(findings: _Findings) -> CancelOutcome:
    if findings.running:
        return CancelOutcome.RUNNING
    if findings.waiting:
        return CancelOutcome.WAITING
    if findings.delayed:
        return CancelOutcome.DELAYED
    return CancelOutcome.ENDED if findings.has_result else CancelOutcome.UNKNOWN
