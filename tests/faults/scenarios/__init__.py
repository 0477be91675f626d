"""All scenarios: importing these modules enters them into the list."""

from tests.faults.scenario import SCENARIOS
from tests.faults.scenarios import (
    connections,
    deploys,
    first_sends,
    freezes,
    kills,
    long_tasks,
    outages,
    poison,
    schedules,
    storms,
    versions,
)

__all__ = [
    "SCENARIOS",
    "connections",
    "deploys",
    "first_sends",
    "freezes",
    "kills",
    "long_tasks",
    "outages",
    "poison",
    "schedules",
    "storms",
    "versions",
]
