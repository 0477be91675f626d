"""What sends tasks with kiqstart."""

from typing import Final

from benchmarks.throughput.peers.kiqstart_peer.app import broker
from benchmarks.throughput.peers.program import serve
from benchmarks.throughput.peers.protocol import QUEUE, About, Way
from benchmarks.throughput.peers.taskiq_peer.peer import TaskiqPeer
from kiqstart.tasks.task import Task

_MOST_IN_A_CALL: Final = 10_000


class KiqstartPeer(TaskiqPeer):
    """Sends with `kiq` as taskiq does, and in bulk with `kiq_many`."""

    async def send_bulk(self, count: int) -> None:
        """Send many with one call for each ten thousand."""
        task = self.task
        if not isinstance(task, Task):
            raise TypeError(f"{task.task_name!r} is not kiqstart's kind of task")
        for begin in range(0, count, _MOST_IN_A_CALL):
            in_call = min(_MOST_IN_A_CALL, count - begin)
            await task.kiq_many(task.call(*self.arguments) for _ in range(in_call))


serve(
    KiqstartPeer(
        About(
            packages=("kiqstart", "taskiq", "redis", "hiredis", "uvloop", "orjson"),
            settings="`StreamBroker` and `kiqstart worker` with their defaults, 100 tasks at once; bulk is `kiq_many`",
            acknowledged="with the result",
            ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT, Way.BULK),
            worker=(
                *("-m", "kiqstart", "worker", "benchmarks.throughput.peers.kiqstart_peer.app:broker"),
                *("--workers", "{processes}", "--log-level", "WARNING"),
            ),
            unfinished=f"redis.call('XLEN', '{QUEUE}')",
            results="result:*",
        ),
        broker(),
    )
)
