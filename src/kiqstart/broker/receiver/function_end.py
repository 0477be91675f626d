"""The boundary between a task's function, which may be cancelled, and what is done with its outcome, which may not."""

import asyncio
from contextlib import suppress

from kiqstart.broker.delivery import Delivery


def is_being_cancelled() -> bool:
    """Whether somebody cancels the current asyncio task: if not, a `CancelledError` is an error like others."""
    runner = asyncio.current_task()
    return runner is not None and runner.cancelling() > 0


async def leave_function(delivery: Delivery) -> None:
    """The function is over: a cancel that comes now, or has come too late for it, hits nothing else."""
    delivery.has_run = True
    runner, delivery.runner = delivery.runner, None
    if runner is not None and runner.cancelling():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        while runner.uncancel():
            pass
