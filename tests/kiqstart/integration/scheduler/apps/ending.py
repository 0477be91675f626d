"""A scheduler that ends on SIGTERM."""

import os
import sys

from taskiq import InMemoryBroker, ScheduledTask, ScheduleSource, TaskiqScheduler

from kiqstart.scheduler.termination import end_on_sigterm


class Source(ScheduleSource):
    """Says when it begins and ends."""

    async def startup(self) -> None:
        end_on_sigterm()
        sys.stderr.write(f"began as process {os.getpid()}\n")

    async def shutdown(self) -> None:
        sys.stderr.write("ended\n")

    async def get_schedules(self) -> list[ScheduledTask]:
        return []


scheduler = TaskiqScheduler(InMemoryBroker(), [Source()])
