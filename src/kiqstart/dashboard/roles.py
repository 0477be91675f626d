"""What a login may do."""

from enum import StrEnum


class DashboardRole(StrEnum):
    """What a login may do."""

    VIEW = "view"
    ACT = "act"
    """View, pause, resume, run, retry and purge."""
