"""Tasks that have not ended, in words."""

from collections.abc import Mapping
from typing import Final

from kiqstart.broker.outstanding import Outstanding
from kiqstart.broker.whereabouts import Place

_FIRST: Final[Mapping[Place, str]] = {
    Place.WAITING: "those that wait longest",
    Place.DELAYED: "those that are due first",
    Place.RUNNING: "those that run longest",
}


def said_of_rest(place: Place, found: Outstanding) -> str:
    """How many were not looked at: `50 of 1,200 waiting tasks were looked at, those that wait longest`; '' for none."""
    if not found.not_looked_at:
        return ""
    total = found.looked_at + found.not_looked_at
    return f"{found.looked_at:,} of {total:,} {place} tasks were looked at, {_FIRST[place]}"
