"""A contestant whose tasks are sent with `kiq`."""

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, AsyncTaskiqTask

from benchmarks.throughput.peers.program import Peer
from benchmarks.throughput.peers.protocol import WAIT_SECONDS, About


class TaskiqPeer(Peer):
    """Any broker of taskiq's kind."""

    def __init__(self, about: About, broker: AsyncBroker) -> None:
        self.about = about
        self.broker = broker
        self.task = self._find("nothing")
        self.arguments: tuple[str, ...] = ()

    async def start(self) -> None:
        """Connect."""
        await self.broker.startup()

    async def stop(self) -> None:
        """Disconnect."""
        await self.broker.shutdown()

    async def prepare(self, task: str, size: int) -> None:
        """Send another task from now on."""
        self.task = self._find(task)
        self.arguments = ("x" * size,) if size else ()

    async def send(self) -> AsyncTaskiqTask[object]:
        """Send a task."""
        return await self.task.kiq(*self.arguments)

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        sent = await self.send()
        if interval is None:
            await sent.wait_result(timeout=WAIT_SECONDS)
        else:
            await sent.wait_result(check_interval=interval, timeout=WAIT_SECONDS)

    def _find(self, name: str) -> AsyncTaskiqDecoratedTask[..., object]:
        task = self.broker.find_task(name)
        if task is None:
            raise LookupError(f"there is no task {name!r}")
        return task
