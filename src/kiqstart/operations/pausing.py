"""What is paused, in words."""

from datetime import UTC, datetime

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.pauses import Pause, Pauses
from kiqstart.operations.schedule_wording import shown_seconds


def pauses_of(broker: StreamBroker) -> Pauses:
    """What is paused of a broker."""
    return Pauses(broker.connection.redis, broker.keys, deadline=broker.options.send_deadline)


def said(pause: Pause) -> str:
    """Since when and why it is paused: `the queue 'low' is paused for 5 h, by ada@host: the database is moved`."""
    words = f"the {pause.described} is paused"
    if pause.since is not None:
        words += f" for {shown_seconds(max((datetime.now(UTC) - pause.since).total_seconds(), 0.0))}"
    if pause.by.user:
        words += f", by {pause.by.user}@{pause.by.host}"
    return f"{words}: {pause.reason}" if pause.reason else words
