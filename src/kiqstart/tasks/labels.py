"""Labels of messages that say where and when a task runs."""

import math
from typing import Final

# Seconds from now, as other taskiq brokers have it; and seconds since the Unix epoch.
DELAY_LABEL: Final = "delay"
DUE_LABEL: Final = "due"
# How far ahead a task may be due: ten years. What is later is a mistake in a unit.
MAX_DELAY_SECONDS: Final = 3650 * 24 * 3600.0
# A key of which one task waits or runs at a time; '' for none.
UNIQUE_LABEL: Final = "unique"
QUEUE_LABEL: Final = "queue_name"
# Which send of its id a message is, where others may have had that id: the result belongs to the latest one.
SEND_LABEL: Final = "send"
# Which schedule has sent it.
SCHEDULE_ID_LABEL: Final = "schedule_id"
# The id of the task that has sent it.
SENT_BY_LABEL: Final = "sent_by"
# The queue of tasks that name none.
DEFAULT_QUEUE: Final = "default"
# Bytes of a unique key, of an id and of a task's name.
LONGEST_NAME: Final = 8192


def bounded_delay(seconds: float) -> float:
    """A delay that every clock can hold: from 0 to ten years, 0 for what is no number."""
    return min(max(seconds, 0.0), MAX_DELAY_SECONDS) if not math.isnan(seconds) else 0.0
