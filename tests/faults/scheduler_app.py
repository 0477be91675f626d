"""What the suite's schedulers are started with: `taskiq scheduler tests.faults.scheduler_app:scheduler`."""

from taskiq import TaskiqScheduler
from tests.faults.app import broker
from tests.faults.ticks import TABLE

from kiqstart.scheduler.source import DurableScheduleSource

scheduler = TaskiqScheduler(broker, [DurableScheduleSource(broker, TABLE)])
