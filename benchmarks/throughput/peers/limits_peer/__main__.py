"""What sends and runs in bare loops."""

import os

from benchmarks.throughput.peers.limits_peer.loops import Hiredis, Loop, RedisPy, make_group, run, send
from benchmarks.throughput.peers.program import Peer, serve
from benchmarks.throughput.peers.protocol import AT_ONCE, CONTESTANT, QUEUE, About, Way


class LimitsPeer(Peer):
    """A loop that is no task queue."""

    about = About(
        packages=("redis", "hiredis"),
        settings="a loop of XADD; of XREADGROUP with SET, XACK and XDEL; 100 messages a round trip, in bulk 1,000",
        acknowledged="with the result",
        ways=tuple(Way),
        worker=(),
        unfinished=f"redis.call('XLEN', '{QUEUE}')",
        results="result:*",
    )

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    async def start(self) -> None:
        """Connect with the first send."""

    async def send(self) -> None:
        """Add a message."""
        send(self._loop, 1, at_once=1)

    async def send_in_flight(self, count: int) -> None:
        """Add messages, a hundred with each round trip."""
        send(self._loop, count, at_once=AT_ONCE)

    async def send_bulk(self, count: int) -> None:
        """Add messages, a thousand with each round trip."""
        send(self._loop, count, at_once=1000)

    async def round_trip(self, interval: float | None) -> None:
        """Nobody answers."""
        raise NotImplementedError(f"a loop waits for no result, nor looks for it each {interval} s")

    async def prepare(self, task: str, size: int) -> None:
        """Make the group, whatever is to be sent."""
        del task, size
        make_group(self._loop)

    async def run(self, count: int) -> None:
        """Run messages, a hundred with each round trip."""
        run(self._loop, count, at_once=AT_ONCE)


serve(LimitsPeer(Hiredis() if os.environ[CONTESTANT].endswith("hiredis") else RedisPy()))
