"""Times of lists, all in the zone that is said once, in the title above them."""

from datetime import datetime, tzinfo


def zoned(title: str) -> str:
    """The title of a column of times: `when (CET)`."""
    return f"{title} ({zone_name()})"


def zone_name() -> str:
    """The zone of a list's times: `CET`, or `+03` where it has no name."""
    return f"{datetime.now(_zone()):%Z}"


def shown_moment(time: datetime) -> str:
    """A time of a list, in 14 characters; in that zone also if summer time begins or ends meanwhile."""
    return f"{time.astimezone(_zone()):%m-%d %H:%M:%S}"


def _zone() -> tzinfo | None:
    # That of now, with an offset that does not change.
    return datetime.now().astimezone().tzinfo
