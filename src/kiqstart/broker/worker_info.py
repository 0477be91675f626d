"""What workers say of themselves when they register."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from kiqstart.broker.partial_json import NOTHING, mapping_of


def queues_of(info: bytes) -> list[str]:
    """The queues that a worker takes; none where a version does not say so, or where it is no such information."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return [str(queue) for queue in cast("dict[str, list[object]]", json.loads(info))["queues"]]
    return []


def place_of(info: bytes) -> tuple[str, int]:
    """A worker's host and process id; '' and 0 where it does not say so."""
    said = _said(info)
    host, pid = said.get("host"), said.get("pid")
    return host if isinstance(host, str) else "", pid if isinstance(pid, int) else 0


def slots_of(info: bytes) -> int:
    """How many tasks a worker runs at once; 0 where it does not say so, or has no limit."""
    slots = _said(info).get("slots")
    return slots if isinstance(slots, int) and slots > 0 else 0


def _said(info: bytes) -> Mapping[str, object]:
    with suppress(ValueError, RecursionError):
        return mapping_of(json.loads(info))
    return NOTHING
