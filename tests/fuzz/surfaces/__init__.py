"""The surfaces."""

from collections.abc import Mapping
from typing import Final

from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import announcements, command_line, journal, messages, results, schedules, settings

SURFACES: Final[Mapping[str, Surface]] = {
    module.SURFACE.name: module.SURFACE
    for module in (messages, results, announcements, schedules, journal, settings, command_line)
}
"""By their names."""
