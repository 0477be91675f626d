"""What sends tasks with streaQ."""

from contextlib import AsyncExitStack

from streaq.task import Task

from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import QUEUE, WAIT_SECONDS, About, Way
from benchmarks.throughput.peers.streaq_peer.app import nothing, worker


class StreaqPeer(Peer):
    """streaQ."""

    about = About(
        packages=("streaq", "coredis", "uvloop", "orjson"),
        settings="`concurrency` 100, uvloop, orjson, silent tasks (no line of log for each); bulk is `enqueue_many`",
        acknowledged="with the result",
        ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT, Way.BULK),
        worker=(
            "-m",
            "streaq",
            "run",
            "benchmarks.throughput.peers.streaq_peer.app:worker",
            "--workers",
            "{processes}",
        ),
        unfinished=f"redis.call('XLEN', 'streaq:{QUEUE}:queues:normal')",
        results=f"streaq:{QUEUE}:task:results:*",
    )

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Connect."""
        await self._stack.enter_async_context(worker)

    async def stop(self) -> None:
        """Disconnect."""
        await self._stack.aclose()

    async def send(self) -> Task[[], None]:
        """Send a task."""
        return await nothing.enqueue()

    async def send_bulk(self, count: int) -> None:
        """Send many with one call for each thousand."""
        while count > 0:
            await worker.enqueue_many([nothing.enqueue() for _ in range(min(count, 1000))])
            count -= 1000

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        del interval
        sent = await nothing.enqueue()
        await sent.result(timeout=WAIT_SECONDS)


serve(StreaqPeer())
