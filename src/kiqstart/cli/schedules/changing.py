"""`kiqstart schedules pause`, `resume` and `remove`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kiqstart.broker.acts import Act, ActKind
from kiqstart.cli.application import stream_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.scheduler.occurrence import time_text
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.source import DurableScheduleSource

_DONE: Final = {
    ActKind.PAUSE_SCHEDULE: "paused",
    ActKind.RESUME_SCHEDULE: "resumed",
    ActKind.REMOVE_SCHEDULE: "removed",
}


def run_pause(names: Sequence[str], *, reason: str | None) -> int:
    """Pause schedules; the exit code is 1 if one is unknown."""
    return asyncio.run(_change(names, _pause, ActKind.PAUSE_SCHEDULE, reason))


def run_resume(names: Sequence[str], *, reason: str | None) -> int:
    """Resume schedules; the exit code is 1 if one is unknown, or has no time any more."""
    return asyncio.run(_change(names, _resume, ActKind.RESUME_SCHEDULE, reason))


def run_remove(names: Sequence[str], *, reason: str | None) -> int:
    """Remove schedules that were added; the exit code is 1 if one is unknown, or the table's."""
    return asyncio.run(_change(names, _remove, ActKind.REMOVE_SCHEDULE, reason))


async def _change(
    names: Sequence[str], change: Callable[[Schedules, str], Awaitable[str]], kind: ActKind, reason: str | None
) -> int:
    async with stream_broker() as broker:
        schedules = DurableScheduleSource(broker).schedules

        async def act(name: str) -> str:
            said = await change(schedules, name)
            await record(broker, [Act(kind=kind, target=name)], reason)
            return said

        return await one_by_one(names, act, _DONE[kind])


async def _pause(schedules: Schedules, name: str) -> str:
    await schedules.pause(name)
    return name


async def _resume(schedules: Schedules, name: str) -> str:
    return f"{name}  is due at {time_text(await schedules.resume(name))}"


async def _remove(schedules: Schedules, name: str) -> str:
    await schedules.remove(name)
    return name
