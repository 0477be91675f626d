"""`kiqstart cancel`: let tasks not run, or run no longer."""

import asyncio
from collections.abc import Sequence
from typing import Final

from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.cli.application import stream_broker
from kiqstart.cli.terminal import echo

_SAID: Final = {
    CancelOutcome.DELAYED: "{!r} was delayed, and is cancelled",
    CancelOutcome.WAITING: "{!r} was waiting, and is cancelled",
    CancelOutcome.RUNNING: "{!r} is running, and is being cancelled",
    CancelOutcome.ENDED: "kiqstart: task {!r} has ended",
    CancelOutcome.UNKNOWN: "{!r} is not known; should it be sent within a day, it will be cancelled",
}


def run_cancel(task_ids: Sequence[str]) -> int:
    """Cancel tasks; those that have ended are named on standard error, and let the exit code be 1."""
    return asyncio.run(_cancel(task_ids))


async def _cancel(task_ids: Sequence[str]) -> int:
    ended = 0
    async with stream_broker() as broker:
        for task_id in dict.fromkeys(task_ids):
            outcome = await broker.cancel(task_id)
            is_ended = outcome is CancelOutcome.ENDED
            ended += is_ended
            echo(_SAID[outcome].format(task_id), err=is_ended)
    return 1 if ended else 0
