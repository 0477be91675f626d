"""What sends tasks with dramatiq."""

from dramatiq import Message

from benchmarks.throughput.peers.dramatiq_peer.app import nothing
from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import WAIT_SECONDS, About, Way


class DramatiqPeer(Peer):
    """dramatiq sends and waits without asyncio."""

    about = About(
        packages=("dramatiq", "redis", "hiredis"),
        settings="16 threads a process, hiredis, the results middleware for all actors",
        acknowledged="after the result",
        ways=(Way.ONE_BY_ONE,),
        worker=(
            *("-m", "dramatiq", "benchmarks.throughput.peers.dramatiq_peer.app"),
            *("--processes", "{processes}", "--threads", "16", "--skip-logging"),
        ),
        unfinished="redis.call('HLEN', 'dramatiq:default.msgs')",
        results="dramatiq-results:*",
    )

    async def start(self) -> None:
        """Connect with the first send."""

    async def send(self) -> Message[None]:
        """Send a task."""
        return nothing.send()

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        del interval
        nothing.send().get_result(block=True, timeout=WAIT_SECONDS * 1000)


serve(DramatiqPeer())
