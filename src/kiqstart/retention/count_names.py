"""What is counted of clean-ups, by name: a field is a policy's name, a line break, and one of these."""

from typing import Final

SECTION: Final = "retention"
"""Of the process' counts."""
ROWS: Final = "rows"
BATCHES: Final = "batches"
MICROSECONDS: Final = "us"
RUNS: Final = "runs:"
"""With the reason for which the runs ended behind it."""
BACKLOG: Final = "backlog"
"""A value: how many rows are left, by estimate."""
LAST_SUCCESS: Final = "last_success"
"""A value: when a run went through all rows for the last time, in seconds since the Unix epoch."""
