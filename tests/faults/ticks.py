"""What the suite's schedulers send, and when."""

from datetime import timedelta
from typing import Final

from taskiq import AsyncBroker, Context, TaskiqDepends
from tests.faults.recorder import Recorder

from kiqstart.scheduler.definition import CatchUp
from kiqstart.scheduler.table import CronSchedule, IntervalSchedule, StaticSchedules

_TICK: Final = "tick"

TABLE: Final = StaticSchedules(
    [
        IntervalSchedule(name="every-2-s", task=_TICK, every=timedelta(seconds=2), catch_up=CatchUp.ALL),
        CronSchedule(name="each-minute", task=_TICK, cron="* * * * *", catch_up=CatchUp.ALL),
    ]
)
"""Whatever was missed is caught up, so that all that was due must have been sent."""


def register_tick(broker: AsyncBroker, recorder: Recorder) -> None:
    """Register a task that records itself under its id, which is that of the schedule's due time."""

    async def tick(context: Context = TaskiqDepends()) -> str:
        with recorder.run(context.message.task_id) as running:
            return running.token

    broker.register_task(tick, task_name=_TICK)
