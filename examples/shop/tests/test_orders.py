"""The shop's tasks, as a user meets them."""

from collections.abc import Awaitable, Callable

import pytest

from kiqstart.testing import Enqueued, ProcessFactory
from shop.tasks import TasksRegistry


async def test_an_order_is_shipped_once(inline: TasksRegistry, order_id: int) -> None:
    assert await (await inline.order_ship.kiq(order_id)).result() is True
    assert await (await inline.order_ship.kiq(order_id)).result() is False


async def test_a_shipping_is_enqueued_and_drained(
    registry: TasksRegistry, order_id: int, enqueued: Enqueued, drain: Callable[..., Awaitable[None]]
) -> None:
    reminder = await registry.order_remind.kicker().after(3600).kiq()
    shipping = await registry.order_ship.kiq(order_id)
    await enqueued(registry.order_ship, order_id=order_id)
    await enqueued(registry.order_remind)
    await drain()
    assert await shipping.result() is True
    assert await reminder.result() in {0, 1}


@pytest.mark.usefixtures("order_id")
async def test_a_worker_deletes_old_orders_by_the_policys_name(registry: TasksRegistry, worker: ProcessFactory) -> None:
    with worker():
        done = await (await registry.retention_run.kiq("old_orders")).result(timeout=20)
    assert done.deleted == 0
    assert done.report is not None
    assert done.report.stopped == "end"


async def test_the_scheduler_starts(scheduler: ProcessFactory) -> None:
    with scheduler() as process:
        assert process.is_running
