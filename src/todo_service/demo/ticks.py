"""The scheduler's ticks, as its schedules tell them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

from kiqstart.cli.signals import raise_swallowed_cancellation
from kiqstart.scheduler import Schedules
from todo_service.demo.screen import Tick

_POLL_SECONDS: Final = 0.1


async def ticks_of(schedules: Schedules) -> AsyncGenerator[Tick]:
    """What the scheduler sends from now on, for ever; of what a schedule sends in quick succession, the last."""
    seen: dict[str, str] = {}
    while True:
        async for one in schedules.all():
            name, last = one.definition.name, one.last
            if last is not None and last.task_id and seen.get(name) != last.task_id:
                seen[name] = last.task_id
                due = datetime.fromtimestamp(last.due_ms / 1000, UTC)
                yield Tick(time=f"{due:%H:%M:%S}", task=one.definition.task, task_id=last.task_id)
        raise_swallowed_cancellation()
        await asyncio.sleep(_POLL_SECONDS)
