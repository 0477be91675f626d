"""What became of a task that was to be cancelled, in words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import read_runs
from kiqstart.operations.schedule_wording import shown_seconds

_SAID: Final[Mapping[CancelOutcome, str]] = {
    CancelOutcome.DELAYED: "was delayed, and is cancelled",
    CancelOutcome.WAITING: "was waiting, and is cancelled",
    CancelOutcome.RUNNING: "is running, and is being cancelled",
    CancelOutcome.ENDED: "has ended",
    CancelOutcome.UNKNOWN: "is not known; should it be sent within a day, it will be cancelled",
}


async def cancel_task(broker: StreamBroker, task_id: str) -> tuple[CancelOutcome, str]:
    """Cancel a task; gives what was found, and that in words. One has ended too whose result is no longer kept.

    Raises:
        InvalidTaskIdError: no task can have this id.
        RedisError: Redis is away; the text says whether the task is cancelled.
    """
    outcome = await broker.cancel(task_id)
    if outcome in (CancelOutcome.ENDED, CancelOutcome.UNKNOWN):
        which = RunFilter(task_id=task_id)
        for run in await read_runs(broker.connection.redis, broker.keys, which, limit=1):
            # A task that is to run again has not ended by that.
            if run.outcome is not Outcome.RETRIED:
                ago = shown_seconds(max((datetime.now(UTC) - run.ended).total_seconds(), 0.0))
                return CancelOutcome.ENDED, f"{_SAID[CancelOutcome.ENDED]}: {run.outcome.value} {ago} ago"
    return outcome, _SAID[outcome]
