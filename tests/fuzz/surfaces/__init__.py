"""The surfaces."""

from collections.abc import Mapping
from typing import Final

from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import (
    announcements,
    command_line,
    dashboard,
    messages,
    results,
    run_store,
    schedules,
    settings,
)

SURFACES: Final[Mapping[str, Surface]] = {
    module.SURFACE.name: module.SURFACE
    for module in (messages, results, announcements, schedules, run_store, settings, command_line, dashboard)
}
"""By their names."""
