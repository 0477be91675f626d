"""This machine's clock, by which leases, deadlines and pauses are counted."""

import time
from typing import Final

# CLOCK_BOOTTIME goes on while the machine sleeps; where there is none, the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def local_time() -> float:
    """Seconds of this machine's life, by a clock that nobody sets and that does not stop with the process."""
    return time.clock_gettime(_CLOCK)
