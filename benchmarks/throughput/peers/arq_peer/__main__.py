"""What sends tasks with arq."""

from arq import ArqRedis, create_pool
from arq.jobs import Job

from benchmarks.throughput.peers.arq_peer.app import QUEUE_NAME, redis_settings
from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import WAIT_SECONDS, About, Way


class ArqPeer(Peer):
    """arq."""

    about = About(
        packages=("arq", "redis", "hiredis"),
        settings="`max_jobs` 100, `poll_delay` 0.01 (500 tasks at most come from each look at the queue), hiredis",
        acknowledged="with the result",
        ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT),
        worker=(
            *("-m", "arq", "benchmarks.throughput.peers.arq_peer.app.WorkerSettings"),
            *("--custom-log-dict", "benchmarks.throughput.peers.arq_peer.app.logging"),
        ),
        unfinished=f"redis.call('ZCARD', '{QUEUE_NAME}')",
        results="arq:result:*",
        polls=True,
    )

    async def start(self) -> None:
        """Connect."""
        self._redis: ArqRedis = await create_pool(redis_settings, default_queue_name=QUEUE_NAME)

    async def stop(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def send(self) -> Job:
        """Send a task."""
        job = await self._redis.enqueue_job("nothing")
        if job is None:
            raise RuntimeError("arq has a job with that id")
        return job

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        sent = await self.send()
        if interval is None:
            await sent.result(timeout=WAIT_SECONDS)
        else:
            await sent.result(timeout=WAIT_SECONDS, poll_delay=interval)


serve(ArqPeer())
