"""What workers and schedulers are there for, and whether they do it."""

from collections.abc import Sequence
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pausable, Pauses
from kiqstart.broker.stats import takeable_in
from kiqstart.clock import local_time
from kiqstart.metrics.health import SECONDS_UNTIL_FOUND, Finding
from kiqstart.scheduler.source import DurableScheduleSource

_STARTING: Final = "starting"


class TakesTasks:
    """A worker takes what waits in its queues, as long as it has room."""

    def __init__(self, broker: StreamBroker) -> None:
        self._broker = broker
        self._taken = 0
        self._since: float | None = None
        self._queue = ""

    async def look(self) -> None:
        """Look whether something waits that it does not take."""
        consumer = self._broker.worker.consumer
        if consumer is None or not consumer.activity.is_taking or consumer.activity.taken != self._taken:
            self._taken = 0 if consumer is None else consumer.activity.taken
            self.begin_anew()
            return
        queue = await self._waiting_queue()
        if queue is None or consumer.activity.taken != self._taken:
            self.begin_anew()
        elif self._since is None:
            self._since, self._queue = local_time(), queue

    def begin_anew(self) -> None:
        """Forget what was seen."""
        self._since = None

    def finding(self) -> Finding | None:
        """What is wrong."""
        if self._broker.worker.consumer is None:
            return Finding(check=_STARTING, text="this worker has not registered yet", helps_restart=False)
        if self._since is None or local_time() - self._since < SECONDS_UNTIL_FOUND:
            return None
        seconds = local_time() - self._since
        text = f"no task was taken for {seconds:.0f} s, though tasks wait in {self._queue!r} and slots are free"
        return Finding(check="taking", text=text)

    async def _waiting_queue(self) -> str | None:
        broker = self._broker
        pauses = Pauses(broker.connection.redis, broker.keys, deadline=broker.options.send_deadline)
        paused = {broker.keys.stream(one.name) for one in await pauses.all() if one.kind is Pausable.QUEUE}
        for queue in broker.queues:
            if broker.keys.stream(queue) not in paused and await takeable_in(broker, queue):
                return queue
        return None


class Ticks:
    """A scheduler polls for what is due.

    Args:
        sources: those of its sources that send by themselves.
    """

    def __init__(self, sources: Sequence[DurableScheduleSource]) -> None:
        self._sources = sources
        self._since = local_time()

    async def look(self) -> None:
        """Nothing is to be asked of Redis."""

    def begin_anew(self) -> None:
        """Forget what was seen."""
        self._since = local_time()

    def finding(self) -> Finding | None:
        """What is wrong."""
        ticks = [one.ticked_at for one in self._sources]
        if None in ticks and local_time() - self._since < SECONDS_UNTIL_FOUND:
            return Finding(check=_STARTING, text="this scheduler has not polled yet", helps_restart=False)
        oldest = min((max(tick or 0.0, self._since) for tick in ticks), default=local_time())
        seconds = local_time() - oldest
        if seconds < SECONDS_UNTIL_FOUND:
            return None
        return Finding(check="tick", text=f"this scheduler has not polled for what is due for {seconds:.0f} s")
