"""How much a worker reads at once."""

from collections.abc import Iterable, Sequence
from typing import Final

from kiqstart.broker.delivery import Delivery

# Upper bound on bytes per read, estimated from the size of recent messages.
_MOST_BYTES: Final = 4 * 1024 * 1024
_LARGE: Final = 64 * 1024


class ReadSize:
    """Knows how large messages usually are, by those that were read last.

    Args:
        most_in_flight: how much memory messages and results may take that a worker has in flight.
    """

    def __init__(self, most_in_flight: int) -> None:
        self._most_in_flight = most_in_flight
        self._usual_bytes = self._usual_weight = 1

    @property
    def is_large(self) -> bool:
        """Whether messages are large enough to be read in a way of their own."""
        return self._usual_bytes > _LARGE

    def note(self, deliveries: Sequence[Delivery]) -> None:
        """Learn it of what was read."""
        if deliveries:
            self._usual_bytes = max(bytes_of(deliveries) // len(deliveries), 1)
            self._usual_weight = max(sum(one.weight for one in deliveries) // len(deliveries), 1)

    def next(self, room: int, in_flight: int) -> tuple[int, int]:
        """How many messages to read, and of how many bytes together.

        Args:
            room: how many may be read.
            in_flight: the memory that those take which the worker has.
        """
        left = max(self._most_in_flight - in_flight, 1)
        # With what it is decoded to, a message takes at least twice its bytes.
        most_bytes = max(min(_MOST_BYTES, left // 2), 1)
        return min(room, max(min(most_bytes // self._usual_bytes, left // self._usual_weight), 1)), most_bytes


def bytes_of(deliveries: Iterable[Delivery]) -> int:
    """The bytes of their messages."""
    return sum(len(one.data) for one in deliveries)
