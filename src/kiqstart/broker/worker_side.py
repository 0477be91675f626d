"""What a broker has in a process that runs its tasks."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from taskiq import TaskiqResult

from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.consumer_parts import ConsumerParts
from kiqstart.broker.delivery import Delivery, current_delivery
from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.redis_retry import is_unauthorized
from kiqstart.broker.results import StreamResultBackend
from kiqstart.broker.rights import check_rights
from kiqstart.broker.roles import Role
from kiqstart.tasks.call_shape import call_shape
from kiqstart.tasks.results.errors import WorkerLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kiqstart.broker.broker import StreamBroker
    from kiqstart.broker.quarantine.quarantine import Quarantine


class WorkerSide:
    """Registers this process as a worker, knows what it has in hand, and starts processes for suspects.

    Attributes:
        suspect_rule: which of the tasks whose workers have died repeatedly it takes.
        on_registered: is told each name that this process has in Redis, in the lease's thread.
        on_loss: is told there that Redis had lost data, which, and that this process has seen to it.
    """

    def __init__(self, broker: "StreamBroker") -> None:
        self._broker: Final = broker
        self.suspect_rule = SuspectRule.ONE
        self.on_registered: Callable[[str], None] | None = None
        self.on_loss: Callable[[int], None] = _nothing
        self._consumer: StreamConsumer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Kept alive in a child, whose garbage it would be: it is not the child's to close.
        self._inherited: StreamConsumer | None = None
        self._past_consumer: StreamConsumer | None = None
        self._registering = asyncio.Lock()
        self._quarantine: Quarantine | None = None
        self._shapes: dict[str, tuple[Callable[..., Any], str]] = {}

    @property
    def consumer(self) -> StreamConsumer | None:
        """What this process does with the streams; None while it is no worker."""
        return self._consumer

    async def consume(self) -> StreamConsumer:
        """Register this process, once.

        Raises:
            WiringError: the queue belongs to another group or a newer version, or one of its keys is something else.
            MissingRightsError: the user of Redis lacks rights.
            RedisError: Redis is away.
        """
        async with self._registering:
            if self._consumer is None:
                self._consumer = await self._register()
                self._loop = asyncio.get_running_loop()
            return self._consumer

    async def may_run(self, task_id: str) -> bool:
        """Wait until the lease is certain; False where the task is another worker's by then."""
        delivery = self.delivery_of(task_id)
        return delivery is None or self._consumer is None or await self._consumer.may_run(delivery)

    def delivery_of(self, task_id: str) -> Delivery | None:
        """The unsettled delivery of a task that runs in this process."""
        running = current_delivery.get()
        if running is None and self._consumer is not None:
            # Another receiver than kiqstart's does not say whose delivery this is.
            running = self._consumer.in_flight.of_task(task_id)
        return running if running is not None and running.task_id == task_id and not running.is_settled else None

    def delivery_of_result(self, task_id: str) -> Delivery | None:
        """The delivery that a result belongs to, also one that was given back."""
        delivery, consumer = self.delivery_of(task_id), self._consumer or self._past_consumer
        if delivery is None and consumer is not None and current_delivery.get() is None:
            # taskiq's receiver runs tasks on that were given back, also after the broker was shut down.
            return consumer.in_flight.lost_of_task(task_id)
        return delivery

    async def end_quarantine(self, seconds: float) -> None:
        """Let the process for suspects end with its tasks, for up to so many seconds; then `stop` ends it."""
        if self._quarantine is not None:
            await self._quarantine.wait(seconds)

    async def stop(self) -> None:
        """Give back what is in hand, and be no worker any more; what works in another loop works on."""
        if self._works_in_another_loop():
            return
        if self._quarantine is not None:
            await self._quarantine.stop()
            self._quarantine = None
        if self._consumer is not None:
            await self._consumer.stop()
            self._past_consumer, self._consumer = self._consumer, None

    def after_fork(self) -> None:
        """In a child: what the parent has in hand as a worker is the parent's to give back."""
        self._inherited = self._consumer
        self._consumer = self._loop = None
        self._registering = asyncio.Lock()

    def _works_in_another_loop(self) -> bool:
        loop = self._loop
        return loop is not None and loop.is_running() and loop is not asyncio.get_running_loop()

    async def _register(self) -> StreamConsumer:
        broker = self._broker
        parts = ConsumerParts(
            await broker.connection.consumer_clients(),
            broker.keys,
            group=broker.consumer_group_name,
            weights=broker.queues,
            options=broker.options,
            result_ttl=broker.result_ttl,
            rule=self.suspect_rule,
            task_id_of=broker.task_id_of,
            shape_of=self._shape_of,
            secrets=broker.secrets,
            on_condemned=partial(self._tell_of_condemned, asyncio.get_running_loop()),
            on_suspects=self._on_suspects,
            on_registered=self.on_registered,
            on_loss=self.on_loss,
            slots=broker.slots,
        )
        consumer = StreamConsumer(parts, read_message=broker.read_message)
        try:
            await consumer.start()
        except BaseException as error:
            await consumer.stop()
            if is_unauthorized(error):
                address = broker.connections.address
                await check_rights(broker.connection.redis, broker.keys, address=address, role=Role.WORKER)
            raise
        return consumer

    def _on_suspects(self, _: int) -> None:
        if self.suspect_rule is not SuspectRule.NONE or self._consumer is None:
            return
        if self._quarantine is None:
            from kiqstart.broker.quarantine.quarantine import Quarantine
            from kiqstart.broker.quarantine.ward_orders import orders_for

            self._quarantine = Quarantine(self._consumer, partial(orders_for, self._broker))
        self._quarantine.on_suspects()

    def _tell_of_condemned(self, loop: asyncio.AbstractEventLoop, task_id: str) -> None:
        """Called in the lease's thread. The broker's own results are there already."""
        backend = self._broker.result_backend
        if isinstance(backend, StreamResultBackend):
            return
        storing = backend.set_result(task_id, failed(WorkerLostError(task_id)))
        asyncio.run_coroutine_threadsafe(storing, loop)

    def _shape_of(self, task_name: str) -> str | None:
        task = self._broker.find_task(task_name)
        if task is None:
            return None
        function, shape = self._shapes.get(task_name, (None, ""))
        if function is not task.original_func:
            shape = call_shape(task.original_func)
            self._shapes[task_name] = (task.original_func, shape)
        return shape


def _nothing(_loss: int) -> None:
    """Nobody is told."""


def failed(error: Exception) -> TaskiqResult[None]:
    """The result of a task that did not run to its end."""
    return TaskiqResult(is_err=True, return_value=None, execution_time=0.0, error=error)
