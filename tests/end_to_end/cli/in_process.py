from collections.abc import Callable
from dataclasses import dataclass

from kiqstart.cli.application import stream_broker
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.source import DurableScheduleSource
from todo_service.delivery.tasks.schedules import SCHEDULES


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Kiqstart = Callable[..., Answer]
"""Takes arguments, and by name `stdin` and `environment`: variables for this call."""


async def look_once() -> None:
    """Do what a scheduler does at its start."""
    async with stream_broker() as broker:
        definitions = [schedule.definition(broker) for schedule in SCHEDULES]
        store = DurableScheduleSource(broker).store
        await SchedulerLoop(broker, store, definitions, clock=StoreClock(), send_deadline=1.0).tick()
