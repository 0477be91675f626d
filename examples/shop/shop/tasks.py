"""The shop's tasks: their names, their controllers, their registry, and when they are due."""

from dataclasses import dataclass
from enum import StrEnum

from taskiq import AsyncBroker

from kiqstart import BaseTasksRegistry, Controller, RetentionTask, TaskReference, register_task
from kiqstart.scheduler import CronSchedule, StaticSchedules
from shop.orders import Orders


class TaskName(StrEnum):
    """Every task."""

    ORDER_SHIP = "order.ship"
    ORDER_REMIND = "order.remind"
    RETENTION_RUN = "retention.run"


@dataclass(frozen=True, kw_only=True)
class OrderTaskController(Controller):
    """Ships orders, and reminds of those that wait."""

    orders: Orders

    def register(self, registry: AsyncBroker) -> None:
        """Register both tasks."""
        register_task(registry, self.ship, name=TaskName.ORDER_SHIP, max_retries=5, unique="ship:{order_id}")
        register_task(registry, self.remind, name=TaskName.ORDER_REMIND, queue="mail")

    async def ship(self, order_id: int) -> bool:
        """Ship an order; whether it was not shipped before."""
        return await self.orders.ship(order_id)

    async def remind(self) -> int:
        """Say how many orders wait."""
        return await self.orders.count_waiting()


class TasksRegistry(BaseTasksRegistry):
    """The tasks, typed: `await registry.order_ship.kiq(order_id=7)`."""

    order_ship = TaskReference(TaskName.ORDER_SHIP, OrderTaskController.ship)
    order_remind = TaskReference(TaskName.ORDER_REMIND, OrderTaskController.remind)
    retention_run = TaskReference(TaskName.RETENTION_RUN, RetentionTask.run)


SCHEDULES = StaticSchedules(
    [
        CronSchedule(name="remind", task=TaskName.ORDER_REMIND, cron="0 8 * * 1-5", time_zone="Europe/Berlin"),
        CronSchedule(
            name="delete-old-orders",
            task=TaskName.RETENTION_RUN,
            cron="30 2 * * *",
            arguments={"policy": "old_orders", "time_budget": 3600},
        ),
    ]
)
