"""The product as it runs in a simulated process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from taskiq.serializers import ORJSONSerializer
from tests.simulation.clients import AsyncClient, BlockingClient, Pipe
from tests.simulation.kernel import Process
from tests.simulation.network import Listener, Network, Subscription

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.consumer_parts import WAIT_SECONDS, ConsumerClients
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.lease import Lease
from kiqstart.broker.loop_resources import LoopResources
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.result_waiter import ResultWaiter
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.broker.sender import Sender
from kiqstart.broker.sent_stats import SentStats
from kiqstart.redis.commands import async_commands, blocking_commands
from kiqstart.redis.loop_local import LoopLocal

if TYPE_CHECKING:
    from tests.simulation.ward import Orders

    from kiqstart.redis.connections import RedisConnections

QUEUE: Final = "{s}"
GROUP: Final = "taskiq"
# Times that a history of some seconds can reach.
OPTIONS: Final = StreamOptions(lease=5.0, send_deadline=8.0, cancel_age=60.0, misfit_grace=10.0)
WEIGHTS: Final[Mapping[str, int]] = {"default": 1, "other": 2}
# A queue that no worker takes before all is well.
LATE_QUEUE: Final = "late"
# A task that workers of an older version do not have, and one that takes fewer arguments there.
NEWS: Final = "news"
WIDE: Final = "wide"
_SECONDS_FOR_AN_ANSWER: Final = 5.0


@dataclass(frozen=True)
class _Connections:
    """What a process' result waiter asks for."""

    network: Network
    process: Process

    def subscription(self, listener: Listener) -> Subscription:
        """Its ears."""
        return self.network.subscribe(self.process, listener)


class SimulatedConnection(LoopResources):
    """What one process has of Redis."""

    def __init__(self, network: Network, process: Process, keys: QueueKeys) -> None:
        import asyncio

        self._network = network
        self._process = process
        self._options = OPTIONS
        self.client = AsyncClient(network, process, timeout=_SECONDS_FOR_AN_ANSWER)
        self.redis = async_commands(self.client)
        self.scripts = Pipe(network, process, timeout=_SECONDS_FOR_AN_ANSWER)
        self.large_scripts = self.scripts
        ears: object = _Connections(network, process)
        self.sent = SentStats(cast("RedisConnections", ears), keys).counter(self.scripts)
        self.sender = Sender(
            self.scripts, keys, deadline=OPTIONS.send_deadline, address="the simulation", sent=self.sent
        )
        self.reads = asyncio.Semaphore(8)
        self.waiter = ResultWaiter(self.scripts, self.scripts, cast("RedisConnections", ears), keys)

    async def consumer_clients(self) -> ConsumerClients:
        """The connections of a worker."""
        return ConsumerClients(
            scripts=self.scripts,
            large_scripts=self.scripts,
            reader=Pipe(self._network, self._process, timeout=WAIT_SECONDS + _SECONDS_FOR_AN_ANSWER),
            thread=blocking_commands(BlockingClient(self._network, self._process, timeout=max(OPTIONS.beat * 2, 0.5))),
        )


class _OneLoop(LoopLocal[LoopResources]):
    """The connection of a process, which has but one event loop."""

    def __init__(self, connection: LoopResources) -> None:
        super().__init__(lambda: connection)
        self._connection = connection

    def get(self) -> LoopResources:
        """The connection."""
        return self._connection

    def peek(self) -> LoopResources | None:
        """The connection."""
        return self._connection

    async def close(self) -> None:
        """Let it go."""
        await self._connection.close()


class SimulatedBroker(StreamBroker):
    """A broker whose connection is simulated.

    Attributes:
        orders: what a process for suspects is told, where one can be started.
        on_lease: is told of this process' lease.
    """

    orders: "Callable[[], Orders] | None" = None
    on_lease: Callable[[Process, Lease], None] | None = None

    def __init__(self, network: Network, process: Process, *, queues: Mapping[str, int] = WEIGHTS) -> None:
        super().__init__("redis://simulated", QUEUE, queues=queues, options=OPTIONS)
        self._process = process
        self._per_loop = _OneLoop(SimulatedConnection(network, process, self.keys))
        self.with_serializer(ORJSONSerializer()).with_middlewares(RetryMiddleware(self))

    async def consume(self) -> StreamConsumer:
        """Register, and say by which lease tasks run here."""
        consumer = await super().consume()
        if self.on_lease is not None:
            self.on_lease(self._process, consumer.lease)
        return consumer
