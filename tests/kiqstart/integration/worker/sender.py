from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask
from tests.deadlines import HANG

from kiqstart.broker.broker import StreamBroker
from kiqstart.testing import eventually


class Sender:
    """Sends the tasks of `app`, and looks at what became of them.

    Args:
        go_on: the file that lets `wait_for_file` end.
    """

    def __init__(self, url: str, queue_name: str, go_on: Path) -> None:
        self.broker = StreamBroker(url, queue_name=queue_name, result_ttl=600.0)
        self.go_on = go_on

    async def send(self, name: str, *arguments: str) -> AsyncTaskiqTask[Any]:
        task = self.broker.register_task(_never_run, task_name=name)
        sent: AsyncTaskiqTask[Any] = await task.kiq(*arguments)
        return sent

    async def value(self, name: str) -> Any:  # noqa: ANN401  # the task's own
        return (await (await self.send(name)).wait_result(timeout=HANG)).return_value

    async def send_waiting(self) -> AsyncTaskiqTask[Any]:
        """Send a task that runs until `go_on` is there, and wait until it runs."""
        return await self._send_telling("wait_for_file")

    async def send_blocking(self, name: str = "block") -> AsyncTaskiqTask[Any]:
        """Send a task that blocks its worker's event loop, and wait until it does: `block` sleeps, `spin` computes."""
        return await self._send_telling(name)

    async def nothing_is_left(self) -> bool:
        """Whether the queue is empty, with nothing in any worker's hands."""
        redis = cast("Redis", self.broker.connection.redis)
        return await redis.xlen(self.broker.keys.stream("default")) == 0

    async def _send_telling(self, name: str) -> AsyncTaskiqTask[Any]:
        sent = await self.send(name, str(self.go_on))

        async def runs() -> bool:
            return self.go_on.with_suffix(".waits").exists()

        await eventually(runs)
        return sent


async def _never_run(*_: str) -> None: ...
