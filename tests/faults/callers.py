"""Programs that send jobs, wait for what becomes of them, and cancel them; and what they were told."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError
from taskiq.exceptions import ResultGetError, SendTaskError
from tests.faults.jobs import MAX_RETRIES, Jobs, Orders, outcome_of
from tests.faults.recorder import Mark, Recorder

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.bulk import BulkSendFailedError
from kiqstart.tasks.task import Task

_SECONDS_UNTIL_AGAIN: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a job is sent.

    Args:
        unique: its key, or ''.
        queue: its queue, or '' for the default one.
        delay: seconds until it is due.
        retries: how often it is tried again.
        give_up: seconds after which its sender does not wait for an answer; 0 waits.
    """

    unique: str = ""
    queue: str = ""
    delay: float = 0.0
    retries: int = 0
    give_up: float = 0.0

    def labels(self) -> dict[str, str | float]:
        """What the message says of it."""
        labels: dict[str, str | float] = {
            "unique": self.unique,
            "queue_name": self.queue,
            "delay": self.delay,
            MAX_RETRIES: self.retries,
        }
        return {name: value for name, value in labels.items() if value}


_PLAINLY: Final = Options()


class Callers:
    """All who call with one broker."""

    def __init__(self, broker: StreamBroker, jobs: Jobs, recorder: Recorder) -> None:
        self.jobs = jobs
        self.refused: list[str] = []
        """The sends that raised an error, and the error."""
        self._broker = broker
        self._recorder = recorder
        # The ids of a step are the broker's to give.
        self._one_by_one = asyncio.Lock()
        self._calls: dict[asyncio.Task[None], str] = {}

    def begin(self, name: str, call: Coroutine[Any, Any, None]) -> None:
        """Begin a call that is about a task, and do not wait for it."""
        task = asyncio.create_task(call)
        self._calls[task] = name
        task.add_done_callback(self._calls.pop)

    async def flush(self, within: float) -> None:
        """Wait until all callers were told all; those that were not in time are recorded."""
        if self._calls:
            await asyncio.wait(list(self._calls), timeout=within)
        late = dict(self._calls)
        for call, name in late.items():
            self._recorder.write(Mark.UNHEARD, name)
            call.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def call(self, name: str, orders: Orders, options: Options = _PLAINLY) -> None:
        """Send a job, and wait for what becomes of it."""
        size = len(orders["text"])
        self._recorder.write(Mark.SENDING, name, size=size, **options.labels())
        kicker = self.jobs.job.kicker().with_task_id(name).with_labels(**options.labels())
        try:
            async with asyncio.timeout(options.give_up or None):
                task = await kicker.kiq(name, orders)
        except TimeoutError:
            self._recorder.write(Mark.GIVEN_UP, name)
        except (SendTaskError, RedisError, OSError) as error:
            self._refuse(name, error)
        else:
            if task.task_id == name:
                self._recorder.write(Mark.SENT, name)
            else:
                self._recorder.write(Mark.HELD, name, holder=task.task_id)
            await self._hear(task.task_id)

    async def call_many(self, names: list[str], orders: list[Orders]) -> None:
        """Send jobs in one step, and wait for all."""
        job = self.jobs.job
        assert isinstance(job, Task)
        for name in names:
            self._recorder.write(Mark.SENDING, name, together=len(names))
        try:
            async with self._one_by_one:
                ids = iter(names)
                self._broker.id_generator = lambda: next(ids)
                await job.kiq_many([job.call(name, one) for name, one in zip(names, orders, strict=True)])
        except BulkSendFailedError as error:
            self._refuse(names[0], error)
            return
        for name in names:
            self._recorder.write(Mark.SENT, name)
        await asyncio.gather(*map(self._hear, names))

    async def call_task(self, task: Any, name: str, *arguments: object) -> None:  # noqa: ANN401  # of any arguments
        """Send another task, and wait for what becomes of it."""
        self._recorder.write(Mark.SENDING, name, task=task.task_name)
        try:
            await task.kicker().with_task_id(name).kiq(name, *arguments)
        except (SendTaskError, RedisError, OSError) as error:
            self._refuse(name, error)
        else:
            self._recorder.write(Mark.SENT, name)
            await self._hear(name)

    async def cancel(self, name: str) -> None:
        """Cancel a task."""
        self._recorder.write(Mark.CANCELLING, name)
        try:
            found = await self._broker.cancel(name)
        except (RedisError, OSError) as error:
            self._recorder.write(Mark.CANCELLED, name, found="", error=repr(error))
        else:
            self._recorder.write(Mark.CANCELLED, name, found=found)

    def _refuse(self, name: str, error: Exception) -> None:
        self.refused.append(f"{name}: {type(error).__name__}: {error}")
        self._recorder.write(Mark.FAILED, name, error=f"{type(error).__name__}: {error}")

    async def _hear(self, name: str) -> None:
        backend: Any = self._broker.result_backend
        result = None
        while result is None:
            try:
                result = await backend.wait(name, None)
            except (ResultGetError, RedisError, OSError):
                await asyncio.sleep(_SECONDS_UNTIL_AGAIN)
        self._recorder.write(Mark.HEARD, name, outcome=outcome_of(name, result))
