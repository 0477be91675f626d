"""What workers cost Redis that have nothing to do."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.broker.options import StreamOptions
from kiqstart.testing import eventually

_OPTIONS = StreamOptions(lease=1.0)
_BEATS = 10


async def count_commands(redis: Redis, words: str, seconds: float) -> int:
    """How many commands clients send that have some words in them; not those that scripts run."""
    count = 0
    async with redis.monitor() as monitor:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for command in monitor.listen():
                    count += command["client_type"] != "lua" and words in command["command"]
    return count


@pytest.mark.parametrize(("workers", "queues"), [(1, 6), (3, 1)])
async def test_an_idle_worker_sends_at_most_two_commands_with_each_beat(
    brokers: Brokers, redis: Redis, queue_name: str, workers: int, queues: int
) -> None:
    weights = {f"q{number}": number + 1 for number in range(queues)}
    fleet = [brokers(options=_OPTIONS, queues=weights) for _ in range(workers)]

    async def has_janitor() -> bool:
        return await redis.exists(fleet[0].keys.janitor) == 1

    async with AsyncExitStack() as stack:
        for broker in fleet:
            await stack.enter_async_context(working(broker))
        await eventually(has_janitor)
        commands = await count_commands(redis, queue_name, _BEATS * _OPTIONS.beat)
    assert commands <= 2 * _BEATS * workers
