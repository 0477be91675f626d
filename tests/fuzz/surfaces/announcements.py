"""Announcements: what is said on the channels of results."""

import asyncio
from typing import Any, Final

from hypothesis import strategies as st
from redis.asyncio import Redis
from taskiq import TaskiqResult
from taskiq.exceptions import ResultGetError, TaskiqResultTimeoutError
from tests.deadlines import HANG
from tests.fuzz.judge import judged_log
from tests.fuzz.odd import BYTES, TEXTS
from tests.fuzz.surface import Ground, Surface
from tests.fuzz.surfaces.results import VALUES
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.tasks.sent_task import SentTask

# Whose result is announced: somebody's who waits, nobody's, or on no channel of ours.
_CHANNELS: Final = st.sampled_from(["odd", "odd", "odd@db3", "nobody", "", "odd__progress"]) | TEXTS
Announced = list[tuple[str, bytes]]


async def _wait(task: SentTask[Any]) -> None:
    try:
        await task.wait_result(timeout=0.02)
    except (ResultGetError, TaskiqResultTimeoutError):
        return


async def _hear(ground: Ground, announced: Announced) -> None:
    brokers = Brokers(ground.redis_url, f"{{{ground.new_prefix()}}}:tasks")
    broker = brokers()
    await broker.startup()
    backend, keys = broker.result_backend, broker.keys
    async with Redis.from_url(ground.redis_url) as redis:
        sound = asyncio.create_task(SentTask[int]("sound", backend).wait_result(timeout=HANG))
        for channel, said in announced:
            odd = asyncio.create_task(_wait(SentTask("odd", backend)))
            # So that it listens.
            await asyncio.sleep(0)
            await redis.publish(keys.result(channel), said)
            await odd
        result = TaskiqResult[Any](is_err=False, return_value=7, execution_time=0.0)
        await backend.set_result("sound", result)
        assert (await sound).return_value == 7
        await redis.delete(*await redis.keys(f"{keys.name}*"))
    await brokers.close()


def _try_out(ground: Ground, announced: Announced) -> None:
    with judged_log():
        asyncio.run(_hear(ground, announced))


SURFACE: Final = Surface(
    name="announcements",
    inputs=st.lists(st.tuples(_CHANNELS, VALUES | BYTES), min_size=1, max_size=20),
    try_out=_try_out,
    size=len,
    examples=8,
)
