"""Which keys there may be when all has ended."""

import re
from collections.abc import Iterable

from tests.invariants.facts import Left

# What docs/delivery.md has in its table of keys and is there when all has ended: what all agree on, and what expires.
_LASTING = re.compile(
    r"((:queue:\w+)?(:returned|:suspects|:isolated|:misfits)?|:misfits:index|:dead(:dropped)?|:cancelled|:workers(:info|:draining|:registered)?|:queues"
    r"|:epoch|:layout|:group|:janitor|:schedules.*|:stats(:schedules|:retention)?|:runs(:failed|:counts)?)"
)
_EXPIRING = re.compile(
    r":latest|:workers:restored|:result:.+|:sender:.+|:cancel:.+|(:quarantine|:probe)|:epoch:settled:.+|:stats:.+|:workers:load:.+|:schedules.*|:runs:resent"
)


def unexpected(left: Iterable[Left]) -> list[Left]:
    """Keys that are not to be there when all has ended."""
    return [one for one in left if not (_EXPIRING if one.expires else _LASTING).fullmatch(one.name)]
