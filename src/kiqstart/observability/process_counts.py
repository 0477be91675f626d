"""What parts of a process count that know no queue: its worker adds it up in Redis with what all others count."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

_MOST_FIELDS: Final = 10_000


class ProcessCounts:
    """Counts and values by section and field, for any thread.

    A section that nobody takes keeps 10,000 fields.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._values: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def add(self, section: str, counts: Mapping[str, int]) -> None:
        """Add to counts."""
        with self._lock:
            found = self._counts[section]
            for field, count in counts.items():
                if field in found or len(found) < _MOST_FIELDS:
                    found[field] = found.get(field, 0) + count

    def put(self, section: str, field: str, value: int) -> None:
        """Put a value in place of the one before."""
        with self._lock:
            found = self._values[section]
            if field in found or len(found) < _MOST_FIELDS:
                found[field] = value

    def take(self, section: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """The counts since they were taken last, and the values that were put since."""
        if section not in self._counts and section not in self._values:
            return {}, {}
        with self._lock:
            return self._counts.pop(section, {}), self._values.pop(section, {})


PROCESS_COUNTS: Final = ProcessCounts()
"""Those of this process."""
