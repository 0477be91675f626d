"""`kiqstart schedules pause`, `resume` and `remove`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kiqstart.cli.application import stream_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.scheduler.occurrence import time_text
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.source import DurableScheduleSource


def run_pause(names: Sequence[str]) -> int:
    """Pause schedules; the exit code is 1 if one is unknown."""
    return asyncio.run(_change(names, _pause, "paused"))


def run_resume(names: Sequence[str]) -> int:
    """Resume schedules; the exit code is 1 if one is unknown, or has no time any more."""
    return asyncio.run(_change(names, _resume, "resumed"))


def run_remove(names: Sequence[str]) -> int:
    """Remove schedules that were added; the exit code is 1 if one is unknown, or the table's."""
    return asyncio.run(_change(names, _remove, "removed"))


async def _change(names: Sequence[str], change: Callable[[Schedules, str], Awaitable[str]], what: str) -> int:
    async with stream_broker() as broker:
        schedules = DurableScheduleSource(broker).schedules
        return await one_by_one(names, lambda name: change(schedules, name), what)


async def _pause(schedules: Schedules, name: str) -> str:
    await schedules.pause(name)
    return name


async def _resume(schedules: Schedules, name: str) -> str:
    return f"{name}  is due at {time_text(await schedules.resume(name))}"


async def _remove(schedules: Schedules, name: str) -> str:
    await schedules.remove(name)
    return name
