from collections.abc import Callable
from dataclasses import dataclass

from kiqstart.delivery.cli.broker import stream_broker
from kiqstart.delivery.tasks.schedules import SCHEDULES
from kiqstart.infrastructure.taskiq.scheduling.clock import StoreClock
from kiqstart.infrastructure.taskiq.scheduling.source import DurableScheduleSource
from kiqstart.infrastructure.taskiq.scheduling.ticker import Ticker


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
        await Ticker(broker, store, definitions, clock=StoreClock(), send_deadline=1.0).tick()
