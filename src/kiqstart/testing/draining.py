"""Running what is in the queues, in the test's own process."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from taskiq import AsyncBroker, InMemoryBroker, TaskiqEvents, TaskiqMessage
from taskiq.utils import maybe_awaitable

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.redis.commands import AsyncCommands, async_commands
from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL
from kiqstart.testing.queues import queued_messages, redis_client

# Messages in streams, the last of the keys being that of the delayed ones.
_COUNT: Final = """
local count = redis.call('ZCARD', KEYS[#KEYS])
for place = 1, #KEYS - 1 do count = count + redis.call('XLEN', KEYS[place]) end
return count
"""
_POLL_SECONDS: Final = 0.02
_SECONDS_TO_END: Final = 5.0


async def drain(broker: AsyncBroker, redis_url: str, *, timeout: float) -> None:  # noqa: ASYNC109  # says what is left
    """Run all tasks of a broker until its queues are empty: delayed ones and further tries at once, without waiting.

    Args:
        broker: made for this, and not started; it is shut down at the end.
        redis_url: as in REDIS_URL.
        timeout: seconds.

    Raises:
        TimeoutError: tasks are left after that time, as those that send themselves again and again.
    """
    if isinstance(broker, InMemoryBroker):
        await broker.wait_all()
        return
    if not isinstance(broker, StreamBroker):
        raise TypeError(f"a {type(broker).__name__} keeps no queues that could be drained")
    messages = await queued_messages(redis_url, broker.queue_name)
    broker.queues = dict.fromkeys(_queues(broker, messages), 1)
    redis = async_commands(redis_client(redis_url))
    try:
        async with _worker(broker), asyncio.timeout(timeout):
            while messages or not await _is_empty(redis, broker):
                await _hurry(redis, broker)
                await asyncio.sleep(_POLL_SECONDS)
                messages = await queued_messages(redis_url, broker.queue_name)
    except TimeoutError:
        left = ", ".join(sorted({one.task_name for one in messages}))
        raise TimeoutError(f"after {timeout:g} s there are still tasks in the queues: {left}") from None
    finally:
        await redis.aclose()


def _queues(broker: StreamBroker, messages: Sequence[TaskiqMessage]) -> set[str]:
    """Those of all tasks, and those that messages were sent to."""
    labels = [*(task.labels for task in broker.get_all_tasks().values()), *(one.labels for one in messages)]
    return {DEFAULT_QUEUE, *(str(one[QUEUE_LABEL]) for one in labels if one.get(QUEUE_LABEL))}


async def _is_empty(redis: AsyncCommands, broker: StreamBroker) -> bool:
    """Whether nothing waits or runs, asked in one step: what is read one after the other can move past the reader."""
    places = [*broker.keys.all_locations(broker.queues), broker.keys.delayed]
    return bool(await redis.eval(_COUNT, len(places), *places) == 0)


async def _hurry(redis: AsyncCommands, broker: StreamBroker) -> None:
    """Let what is delayed be due."""
    delayed = await redis.zrange(broker.keys.delayed, 0, -1)
    for one in delayed:
        # Only of what is there still.
        await redis.zadd(broker.keys.delayed, {one: 0}, xx=True)


@asynccontextmanager
async def _worker(broker: StreamBroker) -> AsyncGenerator[None]:
    """Run the broker's tasks in this event loop until the end of the block, as a worker that has just been started."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # Not as a worker's process, which this one is not; but what a worker's start brings is there.
    await broker.startup()
    await _tell(broker, TaskiqEvents.WORKER_STARTUP)
    finish = asyncio.Event()
    receiver = StreamReceiver(broker, max_async_tasks=100, run_startup=False, wait_tasks_timeout=_SECONDS_TO_END)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        yield
    finally:
        finish.set()
        await listening
        await _tell(broker, TaskiqEvents.WORKER_SHUTDOWN)
        await broker.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def _tell(broker: AsyncBroker, event: TaskiqEvents) -> None:
    for handler in broker.event_handlers[event]:
        await maybe_awaitable(handler(broker.state))
