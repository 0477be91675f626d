"""`kiqstart scheduler`: what sends tasks by itself when they are due."""

import asyncio

from taskiq.cli.scheduler.args import SchedulerArgs
from taskiq.cli.scheduler.run import run_scheduler as run_taskiq_scheduler

from kiqstart.cli.application import application


def run_scheduler(*, configure_logging: bool) -> None:
    """Run the application's scheduler until it is asked to end.

    Args:
        configure_logging: whether log lines are written as `taskiq scheduler` writes them, unless the application sets
            up its own log.

    Raises:
        OperatorError: the application has no scheduler, or it cannot start.
    """
    app = application()
    scheduler = app.needs_scheduler()
    if app.configure_logging is not None:
        app.configure_logging()
    asyncio.run(
        run_taskiq_scheduler(SchedulerArgs(scheduler=scheduler, modules=[], configure_logging=configure_logging))
    )
