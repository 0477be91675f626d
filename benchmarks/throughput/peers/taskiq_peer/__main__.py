"""What sends tasks with plain taskiq."""

import os
from typing import Final

from benchmarks.throughput.peers.program import serve
from benchmarks.throughput.peers.protocol import CONTESTANT, QUEUE, About, Way
from benchmarks.throughput.peers.taskiq_peer.app import LIST, broker
from benchmarks.throughput.peers.taskiq_peer.peer import TaskiqPeer

_IS_LIST: Final = os.environ[CONTESTANT] == LIST

serve(
    TaskiqPeer(
        About(
            packages=("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop", "orjson"),
            settings="`taskiq worker --max-async-tasks 100` with uvloop, hiredis and orjson for messages and results",
            acknowledged="when taken" if _IS_LIST else "after the result",
            ways=(Way.ONE_BY_ONE, Way.IN_FLIGHT),
            worker=(
                *("-m", "taskiq", "worker", "benchmarks.throughput.peers.taskiq_peer.app:broker"),
                *("--workers", "{processes}", "--max-async-tasks", "100", "--log-level", "WARNING"),
            ),
            # What the list broker's worker has taken is nowhere to be seen until its result is there.
            unfinished=(
                f"tonumber(ARGV[1]) + redis.call('EXISTS', '{QUEUE}') - redis.call('DBSIZE')"
                if _IS_LIST
                else f"redis.call('XPENDING', '{QUEUE}', 'taskiq')[1]"
            ),
            results="result:*",
            polls=True,
        ),
        broker(),
    )
)
