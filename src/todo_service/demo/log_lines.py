"""What worker and scheduler say in their logs, as the demo shows it."""

import json
import re
from dataclasses import dataclass
from typing import Final

_SENT: Final = re.compile(r"Sent task (?P<task>\S+) with id (?P<schedule>\S+)@(?P<time>[^\s,]+)(,|$)")
_STARTED: Final = re.compile(r"Executing task (?P<task>\S+) with ID: (?P<task_id>\S+)$")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The scheduler has sent an occurrence of a schedule."""

    task: str
    schedule: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """The worker begins a task."""

    task: str
    task_id: str


def read_line(line: str) -> Sent | Started | None:
    """Read a line of a log in JSON; None for one that the demo has no use for."""
    event = _event(line)
    if found := _SENT.match(event):
        return Sent(**found.groupdict())
    if found := _STARTED.match(event):
        return Started(**found.groupdict())
    return None


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line
