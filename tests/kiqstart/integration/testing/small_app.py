"""An application without a database, whose tasks fail, wait, and send others."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from taskiq import AsyncBroker, TaskiqEvents, TaskiqState

from kiqstart import App, BaseTasksRegistry, Controller, TaskReference, load_settings, register_task
from kiqstart.broker import RedisSettings, TasksSettings, create_broker


class TaskName(StrEnum):
    REPORT = "report"
    FLAKY = "flaky"
    CHAIN = "chain"


# What has run, in the order of it; whoever uses the application empties it.
RAN: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Reports(Controller):
    broker: AsyncBroker
    tries: list[int] = field(default_factory=list[int])

    def register(self, registry: AsyncBroker) -> None:
        register_task(registry, self.report, name=TaskName.REPORT, queue="reports")
        register_task(registry, self.flaky, name=TaskName.FLAKY, max_retries=3, retry_delay=3600)
        register_task(registry, self.chain, name=TaskName.CHAIN)

    async def report(self, user_id: int, *, day: date = date(2026, 1, 1), copies: int = 1) -> str:
        RAN.append(f"report {user_id}")
        return f"{user_id} {day} {copies}"

    async def flaky(self) -> int:
        self.tries.append(len(self.tries))
        RAN.append(f"flaky {len(self.tries)}")
        if len(self.tries) <= 2:
            raise OSError("not yet")
        return len(self.tries)

    async def chain(self, length: int) -> None:
        RAN.append(f"chain {length}")
        if length:
            await Tasks(self.broker).chain.kicker().after(3600).kiq(length - 1)


class Tasks(BaseTasksRegistry):
    report = TaskReference(TaskName.REPORT, Reports.report)
    flaky = TaskReference(TaskName.FLAKY, Reports.flaky)
    chain = TaskReference(TaskName.CHAIN, Reports.chain)


def create_app() -> App:
    broker = create_broker(load_settings(RedisSettings), load_settings(TasksSettings))

    async def open_pool(state: TaskiqState) -> None:
        state.opened_at = datetime.now(UTC)

    broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, open_pool)
    tasks = Tasks(broker)
    tasks.register([Reports(broker=broker)], TaskName)
    return App(broker=broker, registry=tasks)
