"""When the demo's scheduler sends tasks: within seconds."""

from datetime import timedelta
from typing import Final

from aioinject import Object

from kiqstart.scheduler import IntervalSchedule, StaticSchedules
from todo_service.delivery.tasks.names import TaskName
from todo_service.ioc.container import ContainerFactory, ServiceContainer

DEMO_SCHEDULES: Final = StaticSchedules(
    (
        IntervalSchedule(name="ping", task=TaskName.PING, every=timedelta(seconds=1)),
        IntervalSchedule(
            name="cleanup-sessions",
            task=TaskName.SESSION_CLEANUP,
            every=timedelta(seconds=5),
            arguments={"days_old": 0},
        ),
    )
)


def demo_container() -> ServiceContainer:
    """The service's container with the demo's schedules in place of its own."""
    return ContainerFactory(overrides=[Object(DEMO_SCHEDULES, interface=StaticSchedules)])()
