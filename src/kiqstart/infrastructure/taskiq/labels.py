"""Labels of messages that say where and when a task runs."""

from typing import Final

# Seconds from now, as other taskiq brokers have it; and seconds since the Unix epoch.
DELAY_LABEL: Final = "delay"
DUE_LABEL: Final = "due"
# A key of which one task waits or runs at a time; '' for none.
UNIQUE_LABEL: Final = "unique"
QUEUE_LABEL: Final = "queue_name"
