"""What is measured of a broker while one worker runs."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from redis.asyncio import Redis
from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_AT_ONCE: Final = 500
_SECONDS_TO_SETTLE: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class LeftBehind:
    """What finished tasks leave in Redis; memory in bytes."""

    tasks: int
    entries: int
    pending: int
    keys: int
    memory_before: int
    memory_after: int


async def left_behind(broker: AsyncBroker, redis: Redis, tasks: int) -> LeftBehind:
    """Run tasks, read and delete their results, and look at what is left."""
    name: str = vars(broker)["queue_name"]
    memory_before = await _memory(redis)
    task = _task(broker)
    for begin in range(0, tasks, _AT_ONCE):
        sent = await asyncio.gather(*(task.kiq() for _ in range(min(_AT_ONCE, tasks - begin))))
        await asyncio.gather(*(one.wait_result(timeout=60) for one in sent))
        results = [f"{prefix}:result:{one.task_id}" for one in sent for prefix in (name, f"{{{name}}}")]
        await redis.unlink(*results)
    await asyncio.sleep(_SECONDS_TO_SETTLE)
    found = cast("AsyncIterator[bytes]", redis.scan_iter(match=f"*{name}*"))
    keys = [key async for key in found]
    groups = cast("list[dict[str, int]]", await redis.xinfo_groups(name))
    return LeftBehind(
        tasks=tasks,
        entries=await redis.xlen(name),
        pending=groups[0]["pending"],
        keys=len(keys),
        memory_before=memory_before,
        memory_after=await _memory(redis),
    )


def _task(broker: AsyncBroker) -> AsyncTaskiqDecoratedTask[[], object]:
    task = broker.find_task("nothing")
    if task is None:
        raise LookupError("the task is not registered")
    return task


async def _memory(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])
