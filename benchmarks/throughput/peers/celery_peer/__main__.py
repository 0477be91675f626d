"""What sends tasks with Celery."""

from celery.result import AsyncResult

from benchmarks.throughput.peers.celery_peer.app import nothing
from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import QUEUE, WAIT_SECONDS, About, Way


class CeleryPeer(Peer):
    """Celery sends and waits without asyncio."""

    about = About(
        packages=("celery", "kombu", "redis", "hiredis"),
        settings="prefork (its default), `worker_prefetch_multiplier` 100, `task_acks_late`, no gossip, mingle or "
        "heartbeat, hiredis",
        acknowledged="after the result",
        ways=(Way.ONE_BY_ONE,),
        worker=(
            *("-m", "celery", "-A", "benchmarks.throughput.peers.celery_peer.app", "worker"),
            *("--concurrency", "{processes}", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        unfinished=f"redis.call('LLEN', '{QUEUE}') + redis.call('HLEN', 'unacked')",
        results="celery-task-meta-*",
    )

    async def start(self) -> None:
        """Connect with the first send."""

    async def send(self) -> AsyncResult:
        """Send a task."""
        return nothing.delay()

    async def round_trip(self, interval: float | None) -> None:
        """Send one and wait for its result."""
        del interval
        nothing.delay().get(timeout=WAIT_SECONDS)


serve(CeleryPeer())
