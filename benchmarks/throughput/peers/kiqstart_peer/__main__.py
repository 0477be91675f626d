"""What sends tasks with kiqstart."""

from benchmarks.throughput.peers.kiqstart_peer.app import broker
from benchmarks.throughput.peers.program import serve
from benchmarks.throughput.peers.protocol import QUEUE, About, Way
from benchmarks.throughput.peers.taskiq_peer.peer import TaskiqPeer

serve(
    TaskiqPeer(
        About(
            packages=("kiqstart", "taskiq", "redis", "uvloop", "orjson"),
            settings="`StreamBroker` with its defaults, and `taskiq worker --max-async-tasks 100`",
            acknowledged="with the result",
            ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT),
            worker=(
                *("-m", "taskiq", "worker", "benchmarks.throughput.peers.kiqstart_peer.app:broker"),
                *("--workers", "{processes}", "--max-async-tasks", "100", "--log-level", "WARNING"),
            ),
            unfinished=f"redis.call('XLEN', '{QUEUE}')",
            results="result:*",
        ),
        broker(),
    )
)
