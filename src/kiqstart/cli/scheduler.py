"""`kiqstart scheduler`: what sends tasks by itself when they are due."""

import asyncio
import signal
from contextlib import suppress

from taskiq.cli.scheduler.args import SchedulerArgs
from taskiq.cli.scheduler.run import run_scheduler as run_taskiq_scheduler

from kiqstart.cli.application import application
from kiqstart.processes.ending import EarlyEnd


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
    if isinstance(signal.getsignal(signal.SIGINT), EarlyEnd):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = SchedulerArgs(scheduler=scheduler, modules=[], configure_logging=configure_logging)
    # taskiq lets what cancels it between its start and its loop through.
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(run_taskiq_scheduler(arguments))
