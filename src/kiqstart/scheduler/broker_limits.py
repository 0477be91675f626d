"""What a broker's options say of what its schedules send."""

from typing import Final

from taskiq import AsyncBroker

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.sizes import DEFAULT_BYTES

_SECONDS: Final = 30.0


def message_bytes(broker: AsyncBroker) -> int:
    """How large a message of the broker's may be; where it does not say so, as for a stream broker by default."""
    return broker.options.message_bytes if isinstance(broker, StreamBroker) else DEFAULT_BYTES


def send_deadline(broker: AsyncBroker) -> float:
    """The broker's send deadline, in seconds; where it has none, that of a stream broker."""
    return broker.options.send_deadline if isinstance(broker, StreamBroker) else _SECONDS
