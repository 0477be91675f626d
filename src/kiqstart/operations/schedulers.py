"""Whether somebody sends what is due."""

from typing import Final

from kiqstart.operations.schedule_wording import shown_seconds
from kiqstart.scheduler.store import Heartbeats

_START: Final = "start `kiqstart scheduler`"


def missing_scheduler(heartbeats: Heartbeats) -> str | None:
    """What is to be done where no scheduler polls the schedules; None where one does."""
    if heartbeats.living:
        return None
    seconds = heartbeats.seconds_since_any
    if seconds is None:
        return f"no scheduler is running: {_START}"
    return f"no scheduler has polled the schedules for {shown_seconds(seconds)}: {_START}"
