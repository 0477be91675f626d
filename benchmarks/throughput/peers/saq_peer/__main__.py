"""What sends tasks with saq."""

from saq import Job

from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import QUEUE, RESULT_SECONDS, WAIT_SECONDS, About, Way
from benchmarks.throughput.peers.saq_peer.app import queue


class SaqPeer(Peer):
    """saq."""

    about = About(
        packages=("saq", "redis", "hiredis"),
        settings="`concurrency` 50, hiredis, JSON (its default)",
        acknowledged="with the result",
        ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT),
        worker=("-m", "saq", "benchmarks.throughput.peers.saq_peer.app.settings", "--workers", "{processes}"),
        unfinished=f"redis.call('ZCARD', 'saq:{QUEUE}:incomplete')",
        results=f"saq:job:{QUEUE}:*",
    )

    async def start(self) -> None:
        """Connect."""
        await queue.connect()

    async def stop(self) -> None:
        """Disconnect."""
        await queue.disconnect()

    async def send(self) -> Job:
        """Send a task."""
        job = await queue.enqueue("nothing", ttl=RESULT_SECONDS)
        if job is None:
            raise RuntimeError("saq has a job with that key")
        return job

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        del interval
        job = await self.send()
        await job.refresh(until_complete=WAIT_SECONDS)


serve(SaqPeer())
