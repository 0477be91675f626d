"""Saying on standard error what one waits for while one waits for a task, and noticing that no result will come."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from redis.exceptions import RedisError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable, Pauses
from kiqstart.broker.redis_retry import is_unauthorized, reason
from kiqstart.broker.task_search import TaskNotFoundInTimeError, find_task
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.cli.runs.wording import whereabouts_line
from kiqstart.cli.status_line import StatusLine
from kiqstart.cli.terminal import shown
from kiqstart.operations.progress import running_task, said_of_progress
from kiqstart.operations.runs import UnknownRunError, read_history

_SECONDS_BETWEEN_TURNS: Final = 0.5
# To look through queues costs more than to read how far a task is.
_SECONDS_BETWEEN_LOOKS: Final = 2.0
# What ends sooner is waited for without a word.
_SECONDS_OF_SILENCE: Final = 3.0
_SECONDS_FOR_AN_ANSWER: Final = 3.0
# Workers that run it come back to a Redis without its data, and say so, within a few beats.
_SECONDS_UNTIL_GONE: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a look has shown.

    Args:
        text: for a line.
        is_nowhere: whether Redis has answered, and has neither the task nor a result of it.
        may_run: whether a worker may have it.
    """

    text: str = ""
    is_nowhere: bool = False
    may_run: bool = True


class TaskWatch:
    """Watches one task for somebody who waits for its result.

    Args:
        says_progress: whether to say how far it is.
    """

    def __init__(self, broker: StreamBroker, task_id: str, *, says_progress: bool) -> None:
        self._broker = broker
        self._task_id = task_id
        self._says_progress = says_progress
        self._line = StatusLine()

    async def until_gone(self) -> str:
        """Say what is waited for, until there is no result to wait for any more; gives why there is none."""
        speaks_at, look_at, seen = time.monotonic() + _SECONDS_OF_SILENCE, 0.0, _Seen()
        nowhere_since: float | None = None
        try:
            while True:
                if (now := time.monotonic()) >= look_at:
                    seen = await self._look()
                    look_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS
                    nowhere_since = (nowhere_since or now) if seen.is_nowhere else None
                if nowhere_since is not None and now - nowhere_since >= _SECONDS_UNTIL_GONE:
                    return await self._why_it_is_gone()
                if progress := await self._progress(seen):
                    self._line.write(progress)
                elif now >= speaks_at:
                    self._line.write(seen.text)
                await asyncio.sleep(_SECONDS_BETWEEN_TURNS)
        finally:
            self._line.clear()

    async def described(self) -> str:
        """What is waited for now."""
        return (await self._look()).text

    async def _look(self) -> _Seen:
        try:
            async with asyncio.timeout(_SECONDS_FOR_AN_ANSWER):
                return await self._seen()
        except TaskNotFoundInTimeError as error:
            return _Seen(text=f"where it is is not known: {error}")
        except TimeoutError:
            return _Seen(text=self._said_of_silence("it is frozen or slow"))
        except (RedisError, OSError) as error:
            why = reason(error)
            return _Seen(
                text=shown(f"where it is is not known: Redis refuses to say it: {why}")
                if is_unauthorized(error)
                else self._said_of_silence(why)
            )

    async def _seen(self) -> _Seen:
        broker, task_id = self._broker, self._task_id
        if (found := await find_task(broker, task_id)) is not None:
            return _Seen(text=await self._said_of(found), may_run=found.place is Place.RUNNING)
        if await running_task(broker, task_id) is not None:
            return _Seen(text="a worker runs it, and Redis has lost its message")
        if await broker.result_backend.is_result_ready(task_id):
            return _Seen(text="its result is there, and is being read")
        return _Seen(text="it is nowhere in Redis, and has no result", is_nowhere=True, may_run=False)

    def _said_of_silence(self, why: str) -> str:
        return shown(f"Redis at {self._broker.connections.address} does not answer: {why}")

    async def _said_of(self, found: Whereabouts) -> str:
        line = whereabouts_line(replace(found, progress=None))
        if found.place is not Place.WAITING:
            return line
        # What is wrong comes first: a narrow terminal has no room for all.
        broker = self._broker
        pauses = await Pauses(broker.connection.redis, broker.keys, deadline=0.0).all()
        if any(one.kind is Pausable.QUEUE and one.name == found.queue for one in pauses):
            return f"it is paused: {line}"
        return line if await broker.is_served(found.queue) else f"no worker takes it: {line}"

    async def _progress(self, seen: _Seen) -> str:
        if not (self._says_progress and seen.may_run):
            return ""
        # The next look says that Redis is away.
        with suppress(RedisError, OSError):
            async with asyncio.timeout(_SECONDS_FOR_AN_ANSWER):
                task = await running_task(self._broker, self._task_id)
            if task is not None and task.progress is not None:
                return shown(said_of_progress(task.progress))
        return ""

    async def _why_it_is_gone(self) -> str:
        with suppress(UnknownRunError, RedisError, OSError):
            async with asyncio.timeout(_SECONDS_FOR_AN_ANSWER):
                runs = (await read_history(self._broker, self._task_id)).runs
            if runs:
                ended = f"it has ended ({runs[0].outcome}), and its result is not kept any more"
                return f"{ended}: `kiqstart runs show {self._task_id}` has what is known"
        return (
            "it is gone: it is nowhere in Redis, and has no result. Redis has come back without it, or somebody has "
            "removed it; send it again, if it is to run"
        )
