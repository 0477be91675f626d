"""Lines that say what is being measured, and how far the benchmark is."""

import sys
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Writes to standard error, so that standard output has the tables alone."""

    _started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Write a line, with the time since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        print(f"{minutes:3}:{seconds:02}  {text}", file=sys.stderr, flush=True)
