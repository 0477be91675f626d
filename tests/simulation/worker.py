"""Workers: the product's broker and receiver in a simulated process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from redis.exceptions import RedisError
from tests.simulation.kernel import Process
from tests.simulation.network import Network
from tests.simulation.product import WEIGHTS, SimulatedBroker

from kiqstart.infrastructure.errors import OperatorError
from kiqstart.infrastructure.taskiq.streams.fetching import SuspectRule
from kiqstart.infrastructure.taskiq.streams.lease import Lease
from kiqstart.infrastructure.taskiq.streams.receiver import StreamReceiver

_SECONDS_UNTIL_AGAIN: Final = 0.5
_TRIES_TO_TESTIFY: Final = 4
Task = Callable[[int], Awaitable[str]]


class Worker:
    """A process that runs tasks.

    Args:
        job: what a task with a uid does; a tick has none.
        grace: seconds that running tasks have when it is asked to end.
        start_ward: starts a process for suspects, where this worker is to have one.
        on_lease: is told of the lease.
        on_refused: is called where it cannot start, as its user lacks rights, and its process ends.
    """

    def __init__(
        self,
        network: Network,
        process: Process,
        *,
        job: Task,
        tick: Callable[[], Awaitable[None]],
        at_once: int,
        grace: float,
        rule: SuspectRule,
        start_ward: Callable[["Worker"], "Worker"] | None,
        on_lease: Callable[[Process, Lease], None],
        on_refused: Callable[[Process], None],
        queues: Mapping[str, int] = WEIGHTS,
    ) -> None:
        self.process: Final = process
        self.rule: Final = rule
        self.is_asked_to_end = False
        self.ward: Worker | None = None
        self._start_ward = start_ward
        self._on_lease = on_lease
        self._on_refused = on_refused
        self._grace = grace
        self._at_once = at_once
        self.broker: Final = SimulatedBroker(network, process, queues=queues)
        self.broker.suspect_rule = rule
        self.broker.register_task(job, task_name="job", types_of_exceptions=(Exception,))
        self.broker.register_task(tick, task_name="tick")
        if start_ward is not None:
            self.broker._on_suspects = self._on_suspects  # type: ignore[method-assign,assignment]  # as a worker process does
        self._finish = asyncio.Event()
        process.soon(lambda: process.loop.create_task(self._serve()))

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if not self.is_asked_to_end:
            self.is_asked_to_end = True
            self.process.soon(self._finish.set)
            if self.ward is not None:
                self.ward.ask_to_end()

    @property
    def has_anything(self) -> bool:
        """Whether it runs or settles something."""
        consumer = self.broker._consumer
        return consumer is not None and len(consumer.in_hand) > 0

    def on_ward_dead(self, ward: "Worker") -> None:
        """The process to which this one had left the suspects has died."""
        self.ward = None
        consumer = ward.broker._consumer
        name = consumer.lease.worker if consumer is not None else ""
        if name:
            self.process.soon(lambda: self.process.loop.create_task(self._testify(name)))

    async def _serve(self) -> None:
        receiver = StreamReceiver(
            self.broker, max_async_tasks=self._at_once, wait_tasks_timeout=self._grace, run_startup=False
        )
        while not self._finish.is_set():
            try:
                consumer = await self.broker.consume()
            except (RedisError, OSError):
                await asyncio.sleep(_SECONDS_UNTIL_AGAIN)
                continue
            except OperatorError:
                self.process.kernel.after(0.0, lambda: self._on_refused(self.process))
                return
            self._on_lease(self.process, consumer.lease)
            await receiver.listen(self._finish)
        await self.broker.shutdown()
        self.process.kernel.after(0.0, self.process.kill)

    def _on_suspects(self, count: int) -> None:
        del count
        if self.ward is None and self._start_ward is not None and not self.is_asked_to_end:
            self.ward = self._start_ward(self)

    async def _testify(self, name: str) -> None:
        consumer = self.broker._consumer
        for _ in range(_TRIES_TO_TESTIFY):
            try:
                if consumer is not None:
                    await consumer.testify(name)
            except (RedisError, OSError):
                await asyncio.sleep(_SECONDS_UNTIL_AGAIN)
            else:
                return
