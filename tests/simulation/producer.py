"""Producers: processes that send, wait, cancel, and look after dead letters."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import RedisError
from taskiq.exceptions import SendTaskError
from tests.invariants.facts import Sent
from tests.invariants.model import Model
from tests.simulation.kernel import Process
from tests.simulation.network import Network
from tests.simulation.product import NEWS, WIDE, SimulatedBroker

from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.dead_letter import DeadLetterError
from kiqstart.broker.run_resender import RunNotResentError
from kiqstart.operations.run_resending import FailedRuns
from kiqstart.tasks.bulk import BulkSendFailedError

if TYPE_CHECKING:
    from kiqstart.tasks.sent_task import SentTask
    from kiqstart.tasks.task import Task

_GONE: Final = frozenset({CancelOutcome.DELAYED, CancelOutcome.WAITING, CancelOutcome.RUNNING})


class Producer:
    """A process that uses the broker, and runs nothing.

    Args:
        outcome_of: puts a result in a word.
        on_nothing: is told of each task for which a caller has waited in vain.
    """

    def __init__(
        self,
        network: Network,
        process: Process,
        model: Model,
        *,
        outcome_of: Callable[[Any], str],
        on_nothing: Callable[[str], None],
    ) -> None:
        self.process: Final = process
        self.broker: Final = SimulatedBroker(network, process)
        self._model = model
        self._outcome_of = outcome_of
        self._on_nothing = on_nothing
        self._open: set[asyncio.Task[None]] = set()
        here = _NothingHere()
        self._job = cast("Task[[int], str]", self.broker.register_task(here.job, task_name="job"))
        self._news = cast("Task[[int], str]", self.broker.register_task(here.news, task_name=NEWS))
        self._wide = cast("Task[[int, int], str]", self.broker.register_task(here.wide, task_name=WIDE))

    @property
    def is_idle(self) -> bool:
        """Whether nobody in it waits for anything."""
        return not self._open or self.process.is_dead

    def do(self, work: Coroutine[Any, Any, None], *, give_up: float | None = None) -> None:
        """Begin something; its caller may give up after some seconds."""
        self.do_all([(work, give_up)])

    def do_all(self, works: Sequence[tuple[Coroutine[Any, Any, None], float | None]]) -> None:
        """Begin several things in one moment, each with the seconds after which its caller gives up, or None."""

        def begin() -> None:
            for work, give_up in works:
                task = self.process.loop.create_task(work)
                self._open.add(task)
                task.add_done_callback(self._note_end)
                if give_up is not None:
                    self.process.loop.call_later(give_up, task.cancel)

        if self.process.is_dead:
            for work, _ in works:
                work.close()
        else:
            self.process.soon(begin)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not (task.cancelled() or self.process.is_dead) and (error := task.exception()) is not None:
            kernel = self.process.kernel
            kernel.error = kernel.error or f"{error!r} in {self.process.name}"

    async def send(self, sent: Sent, *, task: str = "job", delay: float, queue: str, wait: float | None) -> None:
        """Send a message, and wait for what becomes of it."""
        labels: dict[str, str | float] = {"queue_name": queue} if queue else {}
        if sent.unique:
            labels["unique"] = sent.unique
        if delay:
            labels["delay"] = delay
        if sent.acks:
            labels["ack_type"] = sent.acks
        if sent.max_retries:
            labels |= {"max_retries": sent.max_retries, "retry_delay": 0.5}
        self._model.ask(sent)
        try:
            sending = await self._kiq(task, sent, labels)
        except asyncio.CancelledError:
            self._model.tell(sent, "given-up")
            return
        except (SendTaskError, RedisError, OSError):
            self._model.tell(sent, "failed")
            return
        self._tell(sent, sending.task_id)
        if wait is not None:
            await self._wait(sent.task_id, wait)

    def _kiq(self, task: str, sent: Sent, labels: "dict[str, str | float]") -> "Awaitable[SentTask[str]]":
        if task == WIDE:
            return self._wide.kicker().with_task_id(sent.task_id).with_labels(**labels).kiq(sent.uid, 1)
        plain = self._news if task == NEWS else self._job
        return plain.kicker().with_task_id(sent.task_id).with_labels(**labels).kiq(sent.uid)

    async def send_many(self, several: list[Sent], *, delay: float) -> None:
        """Send messages in one step; of those with one key, one is sent."""
        labels: dict[str, str | float] = {"delay": delay} if delay else {}
        if several[0].unique:
            labels["unique"] = several[0].unique
        if several[0].acks:
            labels["ack_type"] = several[0].acks
        ids = iter([one.task_id for one in several])
        self.broker.id_generator = lambda: next(ids)
        for one in several:
            self._model.ask(one)
        calls = [self._job.call(one.uid) for one in several]
        try:
            tasks: Sequence[SentTask[str] | None] = await self._job.kicker().with_labels(**labels).kiq_many(calls)
        except BulkSendFailedError as error:
            tasks = [*error.tasks, *[None] * (len(several) - len(error.tasks))]
        for one, task in zip(several, tasks, strict=True):
            if task is None:
                self._model.tell(one, "failed")
            else:
                self._tell(one, task.task_id)

    async def cancel(self, task_id: str) -> None:
        """Cancel a task."""
        asked = self.process.kernel.now
        self._model.cancel(task_id)
        try:
            outcome = await self.broker.cancel(task_id)
        except (RedisError, OSError):
            return
        if outcome in _GONE:
            self._model.cancelled(task_id, asked, has_run=outcome is CancelOutcome.RUNNING)
        elif outcome is CancelOutcome.UNKNOWN:
            self._model.cancelled_unknown(task_id, asked)

    async def retry_letters(self) -> None:
        """Send all dead letters anew."""
        try:
            for letter in await self.broker.dead_letters.list():
                for sent in self._model.of_task.get(letter.task_id or "", ()):
                    sent.is_resent = True
                try:
                    await self.broker.dead_letters.retry(letter.id)
                except DeadLetterError:
                    continue
        except (RedisError, OSError):
            return

    async def resend_runs(self) -> None:
        """Send all tasks again whose last run has failed, as an operator does."""
        try:
            for run in await FailedRuns().runs(self.broker):
                for sent in self._model.of_task.get(run.task_id or "", ()):
                    sent.is_resent = True
                try:
                    await self.broker.run_resender.resend(run)
                except RunNotResentError:
                    continue
        except (RedisError, OSError):
            return

    async def purge(self) -> None:
        """Drop all dead letters."""
        try:
            await self.broker.dead_letters.purge_all()
        except (RedisError, OSError):
            return

    def _tell(self, sent: Sent, task_id: str) -> None:
        # Of one id and one key, only one is sent; its sender cannot tell which.
        is_twin = sent.unique and sent.arrived is None and len(self._model.of_task[sent.task_id]) > 1
        self._model.tell(sent, "sent" if task_id == sent.task_id and not is_twin else task_id)

    async def _wait(self, task_id: str, seconds: float) -> None:
        backend = cast("Any", self.broker.result_backend)
        waiting: Awaitable[Any] = backend.wait(task_id, seconds)
        try:
            result = await waiting
        except (RedisError, OSError):
            return
        if result is not None:
            self._model.hear(task_id, self._outcome_of(result))
        elif not self.process.was_frozen:
            self._on_nothing(task_id)


class _NothingHere:
    """What the tasks are here, where nobody runs them. taskiq renames what it registers: each producer has its own."""

    def __init__(self) -> None:
        async def job(uid: int) -> str:
            return str(uid)

        async def news(uid: int) -> str:
            return str(uid)

        async def wide(uid: int, extra: int) -> str:
            return str(uid + extra)

        self.job: Final = job
        self.news: Final = news
        self.wide: Final = wide
