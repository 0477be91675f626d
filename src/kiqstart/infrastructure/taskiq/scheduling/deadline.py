"""How long is tried what Redis has to take."""

from typing import Final

from taskiq import AsyncBroker

from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker

_SECONDS: Final = 30.0


def send_deadline(broker: AsyncBroker) -> float:
    """The broker's send deadline, in seconds; where it has none, that of a stream broker."""
    return broker.options.send_deadline if isinstance(broker, StreamBroker) else _SECONDS
