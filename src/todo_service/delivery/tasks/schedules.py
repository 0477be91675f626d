"""When tasks are sent by themselves."""

from datetime import timedelta
from typing import Final

from kiqstart.scheduler import CronSchedule, IntervalSchedule, StaticSchedules
from todo_service.delivery.tasks.names import TaskName

SCHEDULES: Final = StaticSchedules(
    [
        IntervalSchedule(name="ping-every-minute", task=TaskName.PING, every=timedelta(seconds=60)),
        IntervalSchedule(
            name="cleanup-sessions-daily",
            task=TaskName.SESSION_CLEANUP,
            every=timedelta(hours=24),
            arguments={"days_old": 30},
        ),
        CronSchedule(
            name="cleanup-completed-todos-daily", task=TaskName.TODO_CLEANUP, cron="0 2 * * *", time_zone="UTC"
        ),
    ]
)
