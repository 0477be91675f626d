"""What workers say of themselves when they register."""

import json
from contextlib import suppress
from typing import cast


def queues_of(info: bytes) -> list[str]:
    """The queues that a worker takes; none where a version does not say so, or where it is no such information."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return [str(queue) for queue in cast("dict[str, list[object]]", json.loads(info))["queues"]]
    return []
