"""`kiqstart schedules pause`, `resume` and `remove`."""

from collections.abc import Sequence
from typing import Final

from kiqstart.broker.acts import Act, ActKind
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker
from kiqstart.cli.one_by_one import one_by_one
from kiqstart.cli.recording import record
from kiqstart.scheduler.occurrence import time_text
from kiqstart.scheduler.source import DurableScheduleSource

_DONE: Final = {"pause": "paused", "resume": "resumed", "remove": "removed"}


@on_broker
async def run_change(broker: StreamBroker, change: str, names: Sequence[str], *, reason: str | None) -> int:
    """`pause`, `resume` or `remove` schedules; the exit code is 1 if one is unknown, or is not to be changed so."""
    schedules = DurableScheduleSource(broker).schedules

    async def act(name: str) -> str:
        said = name
        match change:
            case "pause":
                await schedules.pause(name)
            case "resume":
                said = f"{name}  is due at {time_text(await schedules.resume(name))}"
            case _:
                await schedules.remove(name)
        await record(broker, [Act(kind=ActKind(f"{change}-schedule"), target=name)], reason)
        return said

    return await one_by_one(names, act, _DONE[change])
