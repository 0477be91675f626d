"""The task that shows that a worker is there."""

from taskiq import AsyncBroker
from typing_extensions import TypedDict

from kiqstart import Controller, register_task
from todo_service.delivery.tasks.names import TaskName


class PingResult(TypedDict):
    """What `ping` answers."""

    result: str


class PingTaskController(Controller):
    """Answers a ping."""

    def register(self, registry: AsyncBroker) -> None:
        """Register `ping`."""
        register_task(registry, self.ping, name=TaskName.PING)

    async def ping(self) -> PingResult:
        """Answer `pong`."""
        return PingResult(result="pong")
