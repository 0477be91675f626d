"""What the scheduler says in its log, as the demo shows it."""

import json
import re
from dataclasses import dataclass
from typing import Final

_SENT: Final = re.compile(r"Sent task (?P<task>\S+) with id (?P<schedule>\S+)@(?P<time>[^\s,]+)(,|$)")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The scheduler has sent an occurrence of a schedule."""

    task: str
    schedule: str
    time: str

    @property
    def task_id(self) -> str:
        """The id of the task that was sent."""
        return f"{self.schedule}@{self.time}"


def read_line(line: str) -> Sent | None:
    """Read a line of a log in JSON; None for one that the demo has no use for."""
    found = _SENT.match(_event(line))
    return None if found is None else Sent(**found.groupdict())


def _event(line: str) -> str:
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line
