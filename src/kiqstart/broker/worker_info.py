"""What workers say of themselves when they register."""

import json
from contextlib import suppress
from typing import cast


def queues_of(info: bytes) -> list[str]:
    """The queues that a worker takes; none where a version does not say so, or where it is no such information."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return [str(queue) for queue in cast("dict[str, list[object]]", json.loads(info))["queues"]]
    return []


def place_of(info: bytes) -> tuple[str, int]:
    """A worker's host and process id; '' and 0 where it does not say so."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        said = cast("dict[str, object]", json.loads(info))
        host, pid = said.get("host"), said.get("pid")
        return host if isinstance(host, str) else "", pid if isinstance(pid, int) else 0
    return "", 0
