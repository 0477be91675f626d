"""`kiqstart scheduler`: what sends tasks by itself when they are due."""

import asyncio
import signal
import socket
from contextlib import suppress

from taskiq.cli.scheduler.args import SchedulerArgs
from taskiq.cli.scheduler.run import run_scheduler as run_taskiq_scheduler

from kiqstart.app import App
from kiqstart.cli.application import application
from kiqstart.operations.brokers import broker_of
from kiqstart.processes.ending import EarlyEnd
from kiqstart.processes.listening import listen_at, say_where
from kiqstart.scheduler.source import DurableScheduleSource


def run_scheduler(*, configure_logging: bool, host: str, port: int | None) -> None:
    """Run the application's scheduler until it is asked to end.

    Args:
        host: at which address of this machine it answers for its figures and its health.
        port: at which port; None: nowhere, 0: any that is free.
        configure_logging: whether log lines are written as `taskiq scheduler` writes them, unless the application sets
            up its own log.

    Raises:
        OperatorError: the application has no scheduler, or it cannot start.
    """
    listener = None if port is None else listen_at(host, port)
    if listener is not None and port == 0:
        say_where(listener)
    app = application()
    scheduler = app.needs_scheduler()
    if app.configure_logging is not None:
        app.configure_logging()
    if isinstance(signal.getsignal(signal.SIGINT), EarlyEnd):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = SchedulerArgs(scheduler=scheduler, modules=[], configure_logging=configure_logging)
    # taskiq lets what cancels it between its start and its loop through.
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_run(arguments, app, listener))


async def _run(arguments: SchedulerArgs, app: App, listener: socket.socket | None) -> None:
    if listener is None:
        await run_taskiq_scheduler(arguments)
        return
    from kiqstart.metrics.duties import Ticks
    from kiqstart.metrics.policies import names_of
    from kiqstart.metrics.server import answering

    sources = [one for one in app.needs_scheduler().sources if isinstance(one, DurableScheduleSource)]
    async with answering(listener, broker_of(app), Ticks(sources), names_of(app.retention)):
        await run_taskiq_scheduler(arguments)
