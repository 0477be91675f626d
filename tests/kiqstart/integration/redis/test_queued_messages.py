import pytest

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing.queues import queued_messages
from kiqstart.testing.servers import delete_keys_of

QUEUE = "{queued-messages}:tasks"


async def work(number: int) -> None: ...


async def test_the_tasks_of_all_queues_and_the_delayed_ones_are_seen_on_each_kind_of_redis(url: str) -> None:
    broker = StreamBroker(url, queue_name=QUEUE)
    task = register_task(broker, work, name="work")
    try:
        await task.kicker().after(120).kiq(5)
        await task.kicker().with_labels(queue_name="low").after(60).kiq(4)
        await task.kiq(1)
        await task.kicker().with_labels(queue_name="low").kiq(2)
        await task.kiq(3)
        found = [message.args for message in await queued_messages(url, QUEUE)]
        # In one millisecond, queues have no order.
        assert (sorted(found[:3]), found[3:]) == ([[1], [2], [3]], [[4], [5]])
        await delete_keys_of(url, "queued-messages")
        assert await queued_messages(url, QUEUE) == []
    finally:
        await broker.shutdown()


@pytest.mark.parametrize("prefix", ["plain", "{tagged}:more"])
async def test_a_queue_name_with_and_without_a_hash_tag(redis_url: str, key_prefix: str, prefix: str) -> None:
    broker = StreamBroker(redis_url, queue_name=f"{prefix}-{key_prefix}")
    task = register_task(broker, work, name="work")
    try:
        await task.kicker().with_labels(queue_name="low").kiq(1)
        await task.kicker().after(60).kiq(2)
        assert [one.args for one in await queued_messages(redis_url, f"{prefix}-{key_prefix}")] == [[1], [2]]
    finally:
        await broker.shutdown()
        await delete_keys_of(redis_url, key_prefix)
